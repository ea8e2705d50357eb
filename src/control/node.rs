//! Placeholder: the running node as a [`Service`].

use crate::control::service::{Kill, Service};
use crate::control::status::Status;
use crate::lcm::local::LocalConnection;
use crate::name::Name;
use crate::node::Handle;
use crate::wire::failure::OpenFailure;
use crate::wire::target::{Host, Target};

impl Service for Handle {
    async fn status(&self) -> Status {
        Status::default()
    }

    async fn kill(&self, _what: Kill) -> bool {
        false
    }

    async fn reload(&self) -> Result<String, String> {
        Ok("nothing".to_owned())
    }

    fn choose(&self, _host: &Host, _port: u16) -> Result<(Vec<Name>, Target), OpenFailure> {
        Err(OpenFailure::Denied)
    }

    async fn open(&self, _connection: LocalConnection) -> bool {
        false
    }
}
