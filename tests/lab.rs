//! The network lab: real programs in network namespaces of their own, and real failures between them.
//!
//! Needs root, `ip netns` and the programs that it drives; without them a scenario says so and passes (with
//! `CI=true` a missing program is a failure). Times are printed beside their targets, never asserted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers fail the test, and it tells what it measured"
)]

#[path = "lab/clients.rs"]
mod clients;
#[path = "lab/failures.rs"]
mod failures;
#[path = "lab/load.rs"]
mod load;
#[path = "lab/mesh.rs"]
mod mesh;
#[path = "lab/net.rs"]
mod net;
#[path = "support/node.rs"]
mod node;
#[path = "lab/sshd.rs"]
mod sshd;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;

use tempfile::TempDir;

use net::{Net, Place};
use node::{GRANTS, Node, client_config, gateway_config, keygen, wait_until};

/// The server, as the client names it.
const SERVER: &str = "10.9.2.2";

/// A client, a gateway behind a router, and a server of patterns beside the gateway.
struct Lab {
    net: Net,
    client: Node,
    gateway: Node,
    server: Child,
    folder: TempDir,
}

impl Lab {
    fn new(name: &str) -> Self {
        Self::with(name, "", "")
    }

    /// A lab whose client has `proxy` in its table `[proxy]`, and `more` behind all tables.
    fn with(name: &str, proxy: &str, more: &str) -> Self {
        let net = Net::new(name);
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
        let (client_name, gateway_name) = (keygen(&near), keygen(&far));
        let grants = GRANTS.replace("\"*:*\"", "\"10.0.0.0/8:*\", \"[fd09::]/16:*\", \"*:*\"");
        let config =
            gateway_config(&client_name, 7700, &grants).replace("127.0.0.1:7700", "0.0.0.0:7700");
        let repositories = folder.path().join("git");
        fs::create_dir(&repositories).unwrap();
        let server = net.server.spawn(&[
            "python3",
            "tests/lab/serve.py",
            repositories.to_str().unwrap(),
        ]);
        let gateway = Node::start(&far, &config, &net.server.prefix());
        let link: SocketAddr = format!("{SERVER}:7700").parse().unwrap();
        let listen = format!("\"127.0.0.1:1080\", \"[::1]:1080\"]\n{proxy}");
        let config = client_config(&gateway_name, link, more).replace("\"127.0.0.1:0\"]", &listen);
        let client = Node::start(&near, &config, &net.client.prefix());
        assert_eq!(client.address("proxy").port(), 1080);
        wait_until("the server answers", || {
            let get = [
                "curl",
                "-sSf",
                "-o",
                "/dev/null",
                "http://127.0.0.1:8000/pattern/1",
            ];
            net.server.output(&get).status.success()
        });
        Self {
            net,
            client,
            gateway,
            server,
            folder,
        }
    }
}

/// What a load runs between: a client with its node, and a place where servers listen on [`SERVER`].
#[derive(Clone, Copy)]
struct Ends<'a> {
    near: &'a Place,
    client: &'a Node,
    far: &'a Place,
    folder: &'a Path,
}

impl Lab {
    fn ends(&self) -> Ends<'_> {
        Ends {
            near: &self.net.client,
            client: &self.client,
            far: &self.net.server,
            folder: self.folder.path(),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // They may have ended already.
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}
