//! The arguments of `muses`; their doc comments are its help.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cli::simulate;
use crate::control::service::Kill;
use crate::wire::target::Host;

/// TCP connections that outlive the network.
///
/// One `muses` runs on each machine. Applications reach it by SOCKS5, HTTP CONNECT, fixed forwards or
/// `muses connect`; it carries their connections, sealed end to end, to the `muses` on the other
/// machine. When the network goes away the connections wait, and go on at the exact byte afterwards.
///
/// Without a command, the node runs.
#[derive(Debug, Parser)]
#[command(
    name = "muses",
    version,
    after_long_help = AFTER,
    disable_help_subcommand = true
)]
pub struct Args {
    /// What to do; `run` if missing.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The configuration file [default: proxy.toml in the working directory].
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to log to stderr: error, warn, info, debug, trace, off, or a filter such as
    /// `info,muses::link=debug` [default: $RUST_LOG, else info; for connect: warn].
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log: Option<String>,
}

const AFTER: &str = "\
Examples:
  muses run -c /etc/muses/proxy.toml
  curl --socks5-hostname 127.0.0.1:1080 http://example.org/
  ssh -o ProxyCommand='muses connect -c /etc/muses/proxy.toml \"%h\" %p' host.example.org
  muses status
  muses trace gw

Exit codes: 0 done, 1 failed while running, 64 wrong usage, 69 no daemon, 70 bug, 78 wrong
configuration or key; of connect also: 68 unknown name, 75 time-out, 76 cut, 77 denied, 111 refused,
113 unreachable; of lookup and trace: 68 unknown name, 75 no answer or no way.

Signals of a running node: SIGTERM and SIGINT drain for at most 5 s and exit 0, a second one exits at
once; SIGHUP reads grants and routes again, all or nothing.";

/// A command of `muses`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new identity in FILE (mode 0600) and print its name; never overwrites.
    Keygen {
        /// Keep what is in FILE already, instead of failing: for scripts that run more than once.
        #[arg(long)]
        keep: bool,
        /// Write the name into this file, too: for `name_file` in the [aliases] of another node.
        #[arg(long, value_name = "FILE", conflicts_with = "network")]
        name_file: Option<PathBuf>,
        /// Make the pre-shared key of an overlay instead: the same file goes to every node.
        #[arg(long)]
        network: bool,
        /// The file to make.
        file: PathBuf,
    },
    /// Print the name of the identity in FILE.
    Name {
        /// A file made by keygen.
        file: PathBuf,
    },
    /// Run the node (the default command).
    Run,
    /// Check the configuration, print who may reach what through this node, and exit.
    Check,
    /// Join stdin and stdout to HOST:PORT through the running node; for ssh's ProxyCommand.
    ///
    /// Nothing but the connection's bytes is written to stdout. The end of stdin is passed on while
    /// the other direction goes on. Exit codes: 0 every byte arrived, 64 wrong usage, 68 unknown
    /// name, 69 no daemon, 75 time-out, 76 cut (bytes may be missing), 77 denied, 111 refused, 113
    /// network or host unreachable.
    Connect {
        /// A host name or an address; the far side resolves names.
        #[arg(value_parser = host)]
        host: Host,
        /// 1 to 65535.
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// Show sessions, channels, links, memory and place in the overlay of the running node.
    Status {
        /// As JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Draw what the running node knows of the overlay, in the Poincaré disk, as an SVG file.
    Map {
        /// The file to write, replaced if it is there; `-` is stdout.
        #[arg(default_value = "muses-map.svg")]
        file: PathBuf,
    },
    /// Look a node up in the directory of the overlay: where it hangs, and where it can be linked.
    ///
    /// Exit codes: 0 found, 68 unknown, 69 no daemon, 75 the directory does not answer.
    Lookup {
        /// As JSON, for scripts.
        #[arg(long)]
        json: bool,
        /// An alias of the running node, or a full name.
        name: String,
    },
    /// Show the nodes on the way to a node, with the time that each takes to answer.
    ///
    /// A step without an answer is asked twice; after three of them in a row the trace ends. Relays
    /// answer unproved. Exit codes: 0 reached, 68 unknown, 69 no daemon, 75 not reached.
    Trace {
        /// As JSON, for scripts, when it is over.
        #[arg(long)]
        json: bool,
        /// An alias of the running node, or a full name.
        name: String,
    },
    /// End a session or a channel of the running node; both sides are told.
    Kill {
        /// SESSION or SESSION/CHANNEL, as `muses status` shows them.
        #[arg(value_name = "CHANNEL|SESSION")]
        what: Kill,
    },
    /// Play the overlay with many nodes in virtual time, and print what was measured.
    ///
    /// The nodes are those of `muses run` without their sockets. They join one after the other, each dialling
    /// some that are there; when all is quiet, packets are sent between pairs of them. `--churn` then replaces
    /// nodes for ten minutes while packets are sent: those between nodes that live on count as delivered
    /// within 3 s, a second try included; "near root" are those within 10 s of a root's death.
    Sim(simulate::Options),
}

/// A host as `connect` takes it (R-F9): it may come from a URL that somebody else wrote.
fn host(text: &str) -> Result<Host, String> {
    if text.starts_with('-') {
        return Err("a host does not start with '-'".to_owned());
    }
    text.parse().map_err(|e| format!("{e}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["muses"], line].concat())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_mentions_every_command_and_every_exit_code() {
        let help = Args::command().render_long_help().to_string();
        for word in [
            "keygen", "name", "run", "check", "connect", "status", "map", "lookup", "trace",
            "kill", "sim", "--config", "--log",
        ] {
            assert!(help.contains(word), "{word}");
        }
        for code in [
            "0", "1", "64", "68", "69", "70", "75", "76", "77", "78", "111", "113",
        ] {
            assert!(help.contains(&format!("{code} ")), "{code}");
        }
    }

    #[test]
    fn the_default_command_takes_the_configuration() {
        let args = parse(&["-c", "x.toml"]).unwrap();
        assert!(args.command.is_none());
        assert_eq!(args.config, Some(PathBuf::from("x.toml")));
        let args = parse(&["run", "-c", "x.toml", "--log", "debug"]).unwrap();
        assert!(matches!(args.command, Some(Command::Run)));
        assert_eq!(args.config, Some(PathBuf::from("x.toml")));
    }

    #[test]
    fn connect_takes_names_and_addresses() {
        for host in [
            "example.org",
            "10.0.0.1",
            "::1",
            "[2001:db8::1]",
            "db.gw.muses",
            "_x.y",
        ] {
            assert!(parse(&["connect", host, "22"]).is_ok(), "{host}");
        }
    }

    #[test]
    fn connect_refuses_everything_else() {
        for host in [
            "",
            "-oProxyCommand=x",
            "a b",
            "$(x)",
            "a;b",
            "a/b",
            "ä",
            "a..b",
            "fe80::1%eth0",
            "a:1",
        ] {
            assert!(parse(&["connect", host, "22"]).is_err(), "{host}");
            assert!(parse(&["connect", "--", host, "22"]).is_err(), "{host}");
        }
        for port in ["0", "65536", "-1", "ssh", "", "22x"] {
            assert!(parse(&["connect", "a.example", port]).is_err(), "{port}");
        }
        assert!(parse(&["connect", "a.example"]).is_err());
        assert!(parse(&["connect", "a.example", "1", "2"]).is_err());
    }

    #[test]
    fn map_has_a_file_of_its_own_and_lookup_and_trace_need_a_name() {
        let file = |line: &[&str]| match parse(line).unwrap().command {
            Some(Command::Map { file }) => file,
            other => panic!("{other:?}"),
        };
        assert_eq!(file(&["map"]), PathBuf::from("muses-map.svg"));
        assert_eq!(file(&["map", "-"]), PathBuf::from("-"));
        assert_eq!(file(&["map", "x.svg"]), PathBuf::from("x.svg"));
        for command in ["lookup", "trace"] {
            assert!(parse(&[command]).is_err());
            assert!(parse(&[command, "gw", "more"]).is_err());
            assert!(parse(&[command, "gw", "--json"]).is_ok());
        }
    }

    #[test]
    fn kill_takes_what_status_shows() {
        assert!(parse(&["kill", "3"]).is_ok());
        assert!(parse(&["kill", "3/1f"]).is_ok());
        assert!(parse(&["kill", "x"]).is_err());
    }
}
