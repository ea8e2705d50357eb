//! An ssh server beside the gateway, and the ways to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::net::run;
use crate::node::{bin, wait_until};
use crate::{Ends, SERVER};

/// Programs that it needs.
pub(crate) const PROGRAMS: [&str; 4] = ["ssh", "sshd", "ssh-keygen", "nc"];

/// A running sshd, with a client configuration in which the hosts `connect` and `socks` are both the server:
/// through `muses connect`, and through the proxy.
pub(crate) struct Sshd {
    config: PathBuf,
    server: Child,
}

impl Sshd {
    pub(crate) fn start(ends: Ends<'_>) -> Self {
        let folder = ends.folder.join("ssh");
        fs::create_dir_all(&folder).unwrap();
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            run(keygen.arg(folder.join(key)));
        }
        fs::create_dir_all("/run/sshd").unwrap();
        fs::write(folder.join("sshd_config"), server_config(&folder)).unwrap();
        let config = folder.join("config");
        fs::write(&config, client_config(&folder, &ends.client.folder)).unwrap();
        let path = folder.join("sshd_config");
        let words = ["/usr/sbin/sshd", "-D", "-e", "-f", path.to_str().unwrap()];
        let this = Self {
            config,
            server: ends.far.spawn(&words),
        };
        wait_until("sshd answers", || {
            let tried = ends.near.output(&this.ssh(&["connect", "true"]));
            tried.status.success()
        });
        this
    }

    /// An ssh command.
    pub(crate) fn ssh<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [&["ssh", "-F", self.config()], words].concat()
    }

    /// The client configuration.
    pub(crate) fn config(&self) -> &str {
        self.config.to_str().unwrap()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.server.kill();
        let _ended = self.server.wait();
    }
}

/// Lets root in by the user key.
fn server_config(folder: &Path) -> String {
    let path = folder.display();
    format!(
        "Port 2222\nHostKey {path}/host\nAuthorizedKeysFile {path}/user.pub\nStrictModes no\nUsePAM no\n\
         PidFile none\nPermitRootLogin yes\nClientAliveInterval 0\nSubsystem sftp internal-sftp\n"
    )
}

fn client_config(folder: &Path, client: &Path) -> String {
    let (path, client, muses) = (folder.display(), client.display(), bin());
    format!(
        "Host *\n HostName {SERVER}\n Port 2222\n User root\n IdentityFile {path}/user\n BatchMode yes\n\
         StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n\
         ServerAliveInterval 0\n TCPKeepAlive no\n\
         Host connect\n ProxyCommand {muses} connect -c {client}/proxy.toml %h %p\n\
         Host socks\n ProxyCommand nc -X 5 -x 127.0.0.1:1080 %h %p\n"
    )
}
