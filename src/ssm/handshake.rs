//! stub
use super::established::Established; use super::suite::Suite; use crate::name::Name; use crate::name::certificate::LocalParty; use crate::random::Random; use crate::time::Calendar;
pub struct Choice{pub suite:Suite,pub index:u64,pub port:u16,pub known:Option<bool>}
pub struct Offer{pub suites:Vec<Suite>,pub index:u64,pub port:u16,pub asked:Option<[u8;32]>}
pub struct PeerKeys{pub name:Name,pub static_public:[u8;32]}
#[derive(Debug)] pub struct Initiator; pub struct Responder; pub struct Received;
impl Initiator{pub fn start(_:&LocalParty,_:&PeerKeys,_:&[u8;32],_:&Offer,_:&mut Random)->Result<(Self,Vec<u8>),()>{Err(())} pub fn finish(&mut self,_:&[u8],_:Calendar)->Result<Established,()>{Err(())}}
impl Responder{pub fn read(_:&LocalParty,_:&[u8;32],_:&[u8],_:Calendar)->Result<Received,()>{Err(())}}
impl Received{pub fn peer(&self)->Name{todo!()} pub fn serial(&self)->u64{0} pub fn offer(&self)->&Offer{todo!()} pub fn answer(self,_:&Choice,_:&mut Random)->Result<(Established,Vec<u8>),()>{Err(())}}
pub fn choose_suite(_:&[Suite],_:&[Suite])->Option<Suite>{None}
