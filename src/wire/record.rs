//! Records of the directory: who a name is and where it can be reached, said by the name itself.
//!
//! `form(1) | name(32) | seq(8) | expiry(8) | content | signature(64)`. Form 0 is a tombstone, without
//! content; form 1 has `certificate without its name (120) | count(1) | locations | count(1) | count ×
//! (length(1) | endpoint)`. There is one encoding of a record: any other is refused, so that equal bytes
//! mean an equal record. Bytes only: `cloak::directory` judges signatures and times.

use crate::time::Calendar;
use crate::wire::codec::{DecodeError, Reader, Write};
use crate::wire::location::Location;

/// Longest encoded record in bytes (R-D1).
pub const RECORD_BYTES_MAX: usize = 1_024;
/// Locations of a record at most: the own place and live aliases.
pub const LOCATIONS_MAX: usize = 4;
/// Link endpoints of a record at most.
pub const ENDPOINTS_MAX: usize = 4;
/// Longest endpoint in bytes.
pub const ENDPOINT_BYTES_MAX: usize = 255;
/// Bytes of a certificate behind its name.
pub const CERTIFICATE_REST: usize = 120;
/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

const TOMBSTONE: u8 = 0;
const RECORD: u8 = 1;

/// A record, not yet judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is: the key that signs it.
    pub name: [u8; 32],
    /// Rises with every record of the name: microseconds since 1970, or one more than the last (R-D2).
    pub seq: u64,
    /// First second in which it no longer holds.
    pub expiry: Calendar,
    /// What it says; none in a tombstone: the node has left.
    pub content: Option<Content>,
    /// Over label, overlay and everything before it.
    pub signature: [u8; SIGNATURE_LEN],
}

/// What a record says of a node that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The certificate of the handshake key, without the name in front.
    pub certificate: [u8; CERTIFICATE_REST],
    /// Places in the tree, the best one first.
    pub locations: Vec<Location>,
    /// `host:port` of its link ports, if it publishes them.
    pub endpoints: Vec<String>,
}

impl Record {
    /// Appends everything before the signature. What is beyond the limits is left out; no record of ours
    /// has it.
    pub fn encode_unsigned(&self, out: &mut impl Write) {
        out.put_u8(if self.content.is_some() {
            RECORD
        } else {
            TOMBSTONE
        });
        out.put(&self.name);
        out.put_u64(self.seq);
        out.put_u64(self.expiry.0);
        let Some(content) = &self.content else {
            return;
        };
        out.put(&content.certificate);
        let locations = content.locations.iter().take(LOCATIONS_MAX);
        out.put_u8(u8::try_from(locations.len()).unwrap_or(0));
        for location in locations {
            location.encode(out);
        }
        let endpoints = content.endpoints.iter().take(ENDPOINTS_MAX);
        out.put_u8(u8::try_from(endpoints.len()).unwrap_or(0));
        for endpoint in endpoints {
            out.put_u8(u8::try_from(endpoint.len()).unwrap_or(0));
            out.put(endpoint.as_bytes());
        }
    }

    /// Appends the wire form.
    pub fn encode(&self, out: &mut impl Write) {
        self.encode_unsigned(out);
        out.put(&self.signature);
    }

    /// Reads a record that fills `bytes`. Fails on anything longer than [`RECORD_BYTES_MAX`], on more
    /// places or endpoints than allowed, on endpoints that are not printable ASCII, and on bytes that
    /// [`Self::encode`] would not give.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(DecodeError::TooLong("record"));
        }
        let mut reader = Reader::new(bytes);
        let form = reader.u8()?;
        let record = Self {
            name: reader.array()?,
            seq: reader.u64()?,
            expiry: Calendar(reader.u64()?),
            content: match form {
                TOMBSTONE => None,
                RECORD => Some(Content::decode(&mut reader)?),
                _ => return Err(DecodeError::Invalid("record form")),
            },
            signature: reader.array()?,
        };
        reader.finish()?;
        let mut again = Vec::with_capacity(bytes.len());
        record.encode(&mut again);
        if again != bytes {
            return Err(DecodeError::Invalid("record encoding"));
        }
        Ok(record)
    }
}

impl Content {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let certificate = reader.array()?;
        let count = count(reader, LOCATIONS_MAX, "record locations")?;
        let mut locations = Vec::with_capacity(count);
        for _ in 0..count {
            match Location::decode(reader)? {
                // Means something only on the link on which it is said.
                Location::Neighbour => return Err(DecodeError::Invalid("record location")),
                place @ Location::Tree { .. } => locations.push(place),
            }
        }
        let count = self::count(reader, ENDPOINTS_MAX, "record endpoints")?;
        let mut endpoints = Vec::with_capacity(count);
        for _ in 0..count {
            let len = usize::from(reader.u8()?);
            let text = str::from_utf8(reader.slice(len)?).ok();
            let text = text.filter(|text| is_endpoint(text));
            endpoints.push(text.ok_or(DecodeError::Invalid("endpoint"))?.to_owned());
        }
        Ok(Self {
            certificate,
            locations,
            endpoints,
        })
    }
}

/// Whether a text can stand as an endpoint: 1 to 255 visible ASCII characters.
pub fn is_endpoint(text: &str) -> bool {
    (1..=ENDPOINT_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn count(reader: &mut Reader<'_>, max: usize, field: &'static str) -> Result<usize, DecodeError> {
    let count = usize::from(reader.u8()?);
    if count > max {
        return Err(DecodeError::TooLong(field));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn encoded(record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        record.encode(&mut out);
        out
    }

    fn place(path: Vec<(u32, u32)>) -> Location {
        Location::Tree {
            tree: 1,
            term: 1,
            path,
        }
    }

    fn record() -> Record {
        Record {
            name: [1; 32],
            seq: 2,
            expiry: Calendar(3),
            content: Some(Content {
                certificate: [4; CERTIFICATE_REST],
                locations: vec![place(vec![(1, 2)])],
                endpoints: vec!["node.example:7000".into()],
            }),
            signature: [5; SIGNATURE_LEN],
        }
    }

    #[test]
    fn a_record_and_a_tombstone_read_back() {
        let full = record();
        assert_eq!(Record::decode(&encoded(&full)), Ok(full.clone()));
        let gone = Record {
            content: None,
            ..full
        };
        assert_eq!(Record::decode(&encoded(&gone)), Ok(gone));
    }

    #[test]
    fn what_no_record_may_be_is_refused() {
        let change = |with: &dyn Fn(&mut Content)| {
            let mut record = record();
            with(record.content.as_mut().unwrap());
            Record::decode(&encoded(&record))
        };
        assert!(change(&|content| content.locations = vec![Location::Neighbour]).is_err());
        assert!(change(&|content| content.endpoints = vec![String::new()]).is_err());
        assert!(change(&|content| content.endpoints = vec!["a b:1".into()]).is_err());
        assert_eq!(
            change(&|content| content.endpoints = vec!["x".repeat(255); 4]),
            Err(DecodeError::TooLong("record"))
        );
        let mut trailing = encoded(&record());
        trailing.push(0);
        assert_eq!(Record::decode(&trailing), Err(DecodeError::Trailing));
        let mut five = encoded(&record());
        five[1 + 32 + 16 + CERTIFICATE_REST] = 5;
        assert_eq!(
            Record::decode(&five),
            Err(DecodeError::TooLong("record locations"))
        );
    }

    #[test]
    fn only_the_shortest_form_of_a_number_passes() {
        let mut long = encoded(&record());
        // The term of the location, one byte behind form and tree, in two bytes instead.
        let at = 1 + 32 + 16 + CERTIFICATE_REST + 1 + 1 + 8;
        assert_eq!(long[at], 1);
        long[at] = 0x40;
        long.insert(at + 1, 1);
        assert_eq!(
            Record::decode(&long),
            Err(DecodeError::Invalid("record encoding"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in vec(any::<u8>(), 0..400), form in 0u8..3) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = form;
            }
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(encoded(&record), bytes);
            }
        }

        #[test]
        fn changed_records_decode_or_fail(at in 0usize..300, byte: u8) {
            let mut bytes = encoded(&record());
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(encoded(&record), bytes);
            }
        }
    }
}
