//! `proxy.toml` from outside: the shipped file, files that must pass, files that must be refused.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use muses::config::Allow;
use muses::config::Config;
use muses::config::Listen;
use muses::config::MemoryPressure;
use muses::config::Source;
use muses::config::SuiteName;
use muses::config::Suites;
use muses::config::Uids;
use muses::config::error::ConfigError;
use muses::config::routing::Via;
use muses::config::schema::TABLES;
use muses::config::schema::Table;
use muses::name::Identity;
use muses::name::Name;
use muses::wire::failure::OpenFailure;
use muses::wire::target::Host;
use muses::wire::target::Target;

const MEMORY: u64 = 512 << 20;

fn parse_at(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let source = Source {
        path,
        text,
        read: &|path| fs::read_to_string(path).map_err(|_| "no such file".to_owned()),
    };
    Config::parse(&source, MEMORY)
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_at(Path::new("dir/proxy.toml"), text)
}

fn accepted(name: &str) -> Config {
    let path = cases("accept").join(name);
    parse_at(&path, &fs::read_to_string(&path).unwrap()).unwrap()
}

fn cases(kind: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/config").join(kind)
}

fn case_files(kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(cases(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

fn shipped() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml")).unwrap()
}

/// The name of the node with this seed, as written in the case files.
fn name(seed: u8) -> Name {
    Identity::from_seed(&[seed; 32]).name()
}

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A line of the shipped file by its form.
enum Line<'a> {
    Header(&'a str),
    Set(&'a str),
    Default(&'a str),
    Example(&'a str),
    Prose,
}

fn read_line(line: &str) -> Line<'_> {
    if let Some(example) = line.strip_prefix("#    ") {
        return Line::Example(example);
    }
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => Line::Default(rest),
        Some(_) => Line::Prose,
        None if line.starts_with('[') => Line::Header(line),
        None if line.is_empty() => Line::Prose,
        None => Line::Set(line),
    }
}

#[test]
fn every_file_that_must_pass_passes() {
    let files = case_files("accept");
    assert!(!files.is_empty());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        if let Err(error) = parse_at(&file, &text) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_file_that_must_be_refused_says_why_and_where() {
    let files = case_files("refuse");
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix("# ").expect("the message comes first");
        let said = match parse_at(&file, &text) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        if !said.contains(expected) || !said.contains(&format!("{}:", file.display())) {
            wrong.push(format!("{}:\n  {expected}\n  {said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_problems_of_a_file_are_reported_in_the_order_of_lines() {
    let text = "[limits]\nmemory = 1\n[proxy]\nlistn = 1\nlisten = [\"x\", \"y\"]\n";
    let error = parse(text).unwrap_err();
    let lines: Vec<usize> = error.problems().iter().map(|p| p.line).collect();
    assert_eq!(lines, [2, 4, 5, 5]);
    assert_eq!(error.to_string().lines().count(), 4);
    assert!(
        error
            .to_string()
            .lines()
            .all(|line| line.starts_with("dir/proxy.toml:"))
    );
}

#[test]
fn a_password_is_shown_neither_in_errors_nor_in_debug_output() {
    let wrong = "[proxy]\nusers = { me = \"hunter2\", \"b:c\" = \"hunter2\" }\n";
    assert!(!parse(wrong).unwrap_err().to_string().contains("hunter2"));
    let unclosed = "[proxy]\nusers = { me = \"hunter2\"\n";
    assert!(!parse(unclosed).unwrap_err().to_string().contains("hunter2"));
    let right = parse("[proxy]\nusers = { me = \"hunter2\" }\n").unwrap();
    assert!(!format!("{right:?}").contains("hunter2"));
    assert!(!right.exposure(&[]).to_string().contains("hunter2"));
    assert!(right.proxy.users["me"].matches(b"hunter2"));
    assert!(right.holds_secrets());
    assert!(!parse("").unwrap().holds_secrets());
}

#[test]
fn the_shipped_file_starts_a_proxy_and_an_embedded_node() {
    let config = parse(&shipped()).unwrap();
    assert_eq!(config.proxy.listen, [Listen::Tcp(addr("127.0.0.1:1080"))]);
    assert!(config.link.listen.is_empty());
    assert!(config.forwarder.is_none());
    let embedded = config.embedded.as_ref().unwrap();
    assert_eq!(embedded.key, Path::new("dir/embedded.key"));
    let acl = embedded.acl(name(1));
    let to: Vec<String> = acl.grants[0].to.iter().map(ToString::to_string).collect();
    assert_eq!(to.len(), 3, "{to:?}");
    assert_eq!(
        config.choose(&host("example.org"), 80),
        Ok((
            vec![Via::Embedded],
            Target::Address(host("example.org"), 80)
        ))
    );
    assert_eq!(config.exposure(&[]).warnings, Vec::<String>::new());
}

#[test]
fn what_the_shipped_file_calls_a_default_is_the_default() {
    let empty = parse("").unwrap();
    let mut header = "";
    let mut seen = 0;
    let text = shipped();
    for line in text.lines() {
        match read_line(line) {
            Line::Header(line) => header = line,
            Line::Default(setting) if !header.starts_with("[[") && header != "[embedded]" => {
                let with = parse(&format!("{header}\n{setting}\n")).unwrap();
                assert_eq!(with, empty, "{header} {setting}");
                seen += 1;
            }
            Line::Default(_) | Line::Set(_) | Line::Example(_) | Line::Prose => {}
        }
    }
    assert!(seen >= 15, "{seen}");

    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match read_line(line) {
            Line::Default(setting) => setting,
            Line::Header(_) | Line::Set(_) | Line::Example(_) | Line::Prose => line,
        })
        .collect();
    assert_eq!(
        parse(&uncommented.join("\n")).unwrap(),
        parse(&text).unwrap()
    );
}

#[test]
fn a_default_of_the_shipped_file_that_is_changed_is_noticed() {
    let empty = parse("").unwrap();
    for text in [
        "[identity]\nkey = \"other.key\"",
        "[network]\nid = \"work\"",
        "[network]\nallow = []",
        "[session]\nack_every = 17",
        "[session]\nack_delay = \"6ms\"",
        "[limits]\nmemory = \"513 MiB\"",
    ] {
        assert_ne!(parse(text).unwrap(), empty, "{text}");
    }
}

#[test]
fn the_shipped_file_shows_every_table_and_key() {
    let text = shipped();
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut header, mut example_header) = (String::new(), None::<String>);
    for line in text.lines() {
        let (line, example) = match read_line(line) {
            Line::Header(line) | Line::Set(line) | Line::Default(line) => (line, false),
            Line::Example(line) => (line, true),
            Line::Prose => {
                example_header = None;
                continue;
            }
        };
        if line.starts_with('[') {
            shown.entry(line.to_owned()).or_default();
            if example {
                example_header = Some(line.to_owned());
            } else {
                header = line.to_owned();
            }
            continue;
        }
        let current = example_header.as_ref().filter(|_| example);
        let key = line.split_once(" =").map_or(line, |(key, _)| key);
        let keys = shown.entry(current.unwrap_or(&header).clone()).or_default();
        keys.push(key.to_owned());
    }
    for table in TABLES {
        let keys = shown.get(&table.header());
        let keys = keys.unwrap_or_else(|| panic!("{} is not shown", table.header()));
        for key in table.keys {
            assert!(
                keys.iter().any(|shown| shown == key),
                "{} {key}",
                table.header()
            );
        }
    }
    let known: Vec<String> = TABLES.iter().map(Table::header).collect();
    assert!(shown.keys().all(|header| known.contains(header)));
}

#[test]
fn the_examples_of_the_shipped_file_are_right() {
    let text = shipped();
    let mut lines = Vec::new();
    let mut examples = 0;
    for line in text.lines() {
        match read_line(line) {
            Line::Header(header) if !header.starts_with("[[") => lines.push(header),
            Line::Example(example) => {
                examples += 1;
                lines.push(example);
            }
            Line::Header(_) | Line::Set(_) | Line::Default(_) | Line::Prose => {}
        }
    }
    assert!(examples > 20);
    let text = lines
        .join("\n")
        .replace("NAME-OF-GW", &name(1).to_string())
        .replace("NAME-OF-PHONE", &name(3).to_string());
    let source = Source {
        path: Path::new("dir/proxy.toml"),
        text: &text,
        read: &|path| {
            assert_eq!(path, Path::new("dir/laptop.name"));
            Ok(format!("{}\n", name(2)))
        },
    };
    let config = Config::parse(&source, MEMORY).unwrap();
    assert_eq!(config.aliases.name("LAPTOP"), Some(name(2)));
    assert_eq!(config.forwarder.unwrap().grants.len(), 1);
    assert_eq!(config.forwards.len(), 1);
}

#[test]
fn paths_are_relative_to_the_file() {
    let text =
        "[network]\nkey_file = \"net.key\"\n[control]\nsocket = \"/run/c.sock\"\n[embedded]\n";
    let config = parse_at(Path::new("/etc/muses/proxy.toml"), text).unwrap();
    assert_eq!(config.identity.key, Path::new("/etc/muses/muses.key"));
    assert_eq!(
        config.network.key_file.as_deref(),
        Some(Path::new("/etc/muses/net.key"))
    );
    assert_eq!(
        config.embedded.unwrap().key,
        Path::new("/etc/muses/embedded.key")
    );
    assert_eq!(
        config.control.socket.as_deref(),
        Some(Path::new("/run/c.sock"))
    );
    let here = parse_at(Path::new("proxy.toml"), "").unwrap();
    assert_eq!(here.identity.key, Path::new("muses.key"));
}

#[test]
fn the_control_socket_has_a_place_in_every_case() {
    let config = parse("").unwrap();
    assert_eq!(
        config.control_socket(name(1), Some(Path::new("/run/user/1"))),
        Path::new("/run/user/1/muses/agfiry65oqe7.sock")
    );
    assert_eq!(
        config.control_socket(name(1), None),
        Path::new("dir/muses.key.sock")
    );
    let config = parse("[control]\nsocket = \"s\"").unwrap();
    assert_eq!(
        config.control_socket(name(1), Some(Path::new("/run/user/1"))),
        Path::new("dir/s")
    );
}

#[test]
fn a_client_and_a_gateway_read_as_written() {
    let client = accepted("client.toml");
    assert_eq!(client.network.allow, Allow::Names([name(1)].into()));
    assert_eq!(client.link.peers[0].name, Some(name(1)));
    assert_eq!(client.link.peers[1].name, None);
    assert_eq!(client.link.peers[1].host, host("[2001:db8::1]"));
    assert_eq!(
        client.routes[0].via,
        [Via::Name(name(1)), Via::Name(name(2))]
    );
    assert_eq!(
        client.forwards[0].target,
        Target::Address(host("127.0.0.1"), 22)
    );
    assert!(matches!(&client.forwards[1].target, Target::Service(s) if s.as_str() == "ssh"));
    assert_eq!(client.forwards[1].via, [Via::Name(name(1))]);

    let gateway = accepted("gateway.toml");
    assert_eq!(
        gateway.network.allow,
        Allow::Names([name(2), name(3)].into())
    );
    assert_eq!(
        gateway.aliases.group("FAMILY"),
        Some([name(2), name(3)].as_slice())
    );
    let acl = gateway.forwarder.unwrap();
    assert_eq!(acl.grants[0].max_channels, Some(100));
    assert_eq!(acl.grants[0].opens_per_s, None);
    assert_eq!(acl.grants[0].services.len(), 1);
    assert_eq!(acl.services.len(), 1);
}

#[test]
fn listeners_for_some_users_read_as_written_and_are_shown() {
    let config = accepted("local.toml");
    let own = cases("accept").join("proxy.sock");
    assert_eq!(config.proxy.listen[1], Listen::Unix(own.clone()));
    assert_eq!(config.proxy.allow_uids, Uids::Listed([1000, 1001].into()));
    assert_eq!(config.forwards[0].allow_uids, Uids::Auto);
    assert_eq!(config.forwards[1].allow_uids, Uids::Listed([].into()));
    let report = config.exposure(&[]).to_string();
    let own = format!("unix:{}", own.display());
    let speaks = "SOCKS5 and HTTP CONNECT, for programs of this user and of users 1000, 1001";
    for line in [
        &format!("  127.0.0.1:1080: {speaks}, without password\n"),
        &format!("  {own}: {speaks}, without password\n"),
        "  unix:/run/db.sock: fixed forward to db:5432 via ",
        "  [::1]:5432: fixed forward to db:5432 via ",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert_eq!(report.matches("for programs of this user\n").count(), 2);
}

#[test]
fn listeners_for_some_machines_read_as_written_and_are_shown() {
    let config = accepted("from.toml");
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let listed = nets(&["192.168.1.0/24", "fd00::/8", "10.0.0.7/32"]);
    assert_eq!(config.proxy.from, Some(listed));
    assert_eq!(config.forwards[0].from, Some(nets(&["10.0.0.0/8"])));
    assert_eq!(config.forwards[2].from, None);
    let report = config.exposure(&[]);
    for line in [
        "  0.0.0.0:1080: SOCKS5 and HTTP CONNECT, for machines in 192.168.1.0/24, fd00::/8, \
         10.0.0.7/32, without password\n",
        "proxy.sock: SOCKS5 and HTTP CONNECT, for programs of this user, without password\n",
        "  [::]:5432: fixed forward to db:5432 via ",
        ", for machines in 10.0.0.0/8\n",
        "for programs of this user and of user 1000, from 127.0.0.1/32\n",
        "for programs on this machine\n",
        "warning: [proxy] listens on 0.0.0.0:1080, beyond this machine, without passwords: who has an \
         address of `from` reaches whatever it reaches\n",
        "warning: [[forward]] listens on [::]:5432, beyond this machine: who has an address of `from` \
         reaches db:5432\n",
    ] {
        assert!(report.to_string().contains(line), "{line}\n{report}");
    }
    assert_eq!(report.warnings.len(), 2);
}

#[test]
fn denied_names_read_as_written_and_are_shown() {
    let config = accepted("deny.toml");
    assert_eq!(config.network.deny, [name(2), name(3)].into());
    let report = config.exposure(&[]).to_string();
    for line in [
        "Links accepted:\n  gw (agfiry65oqe7dfp5klns…)\nDenied, whatever else is allowed:\n",
        "  phone.example:7700: never, phone (ahwuskggfdi4frxk5ebt…) is denied\n",
        "  laptop (agats5yovb6rox2wunkg…)\n",
        "  phone (ahwuskggfdi4frxk5ebt…)\n",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

#[test]
fn session_keys_read_as_written() {
    let session = accepted("every_session_key.toml").session;
    assert_eq!(
        session.suites.in_order(true),
        [SuiteName::ChaCha20Poly1305, SuiteName::Aes128CtrHmacSha1]
    );
    assert_eq!(session.max_suspend, Some(Duration::from_hours(7 * 24)));
    assert_eq!(session.open_timeout, Duration::from_mins(1));
    assert_eq!(session.ack_every, 32);
    assert_eq!(session.ack_delay, Duration::from_millis(10));
    assert_eq!(session.max_j, Some(12));
    assert_eq!(session.on_memory_pressure, MemoryPressure::ResetOldest);
    for paper in ["paper.toml", "paper_by_both_keys.toml"] {
        let suites = accepted(paper).session.suites;
        assert_eq!(suites, Suites::Listed(vec![SuiteName::Aes128CtrHmacSha1]));
    }
    let auto = Suites::Auto;
    assert_eq!(auto.in_order(true)[0], SuiteName::Aes256Gcm);
    assert_eq!(auto.in_order(false)[0], SuiteName::ChaCha20Poly1305);
    assert!(!auto.in_order(true).contains(&SuiteName::Aes128CtrHmacSha1));
}

#[test]
fn keys_of_the_overlay_read_as_written_and_only_open_addresses_are_announced() {
    let config = accepted("cloak.toml");
    assert_eq!(config.cloak.relay, Some(false));
    assert_eq!(config.cloak.degree, 4);
    assert!(!config.cloak.shortcuts);
    assert_eq!(announced(&config, &[]), ["192.0.2.1:7700"]);
    let listed = parse("[link]\nannounce = [\"gw.example.org:7700\"]\n").unwrap();
    assert_eq!(announced(&listed, &["192.0.2.7"]), ["gw.example.org:7700"]);
    let none = parse("[link]\nlisten = [\"0.0.0.0:7700\"]\nannounce = []\n").unwrap();
    assert_eq!(announced(&none, &["192.0.2.7"]), Vec::<String>::new());
}

/// What a node would announce on a machine with these addresses.
fn announced(config: &Config, here: &[&str]) -> Vec<String> {
    let here: Vec<IpAddr> = here.iter().map(|ip| ip.parse().unwrap()).collect();
    config.link.announced(&config.link.listen, &here)
}

#[test]
fn a_wildcard_is_announced_as_the_addresses_of_the_machine_within_the_room_of_a_record() {
    let here = [
        "192.0.2.7",
        "2001:db8::7",
        "10.0.0.7",
        "fd00::7",
        "10.1.0.7",
    ];
    let four = parse("[link]\nlisten = [\"0.0.0.0:7700\"]\n").unwrap();
    let expected = ["192.0.2.7:7700", "10.0.0.7:7700", "10.1.0.7:7700"];
    assert_eq!(announced(&four, &here), expected);
    let six = parse("[link]\nlisten = [\"127.0.0.1:7701\", \"[::]:7700\"]\n").unwrap();
    let expected = [
        "192.0.2.7:7700",
        "[2001:db8::7]:7700",
        "10.0.0.7:7700",
        "[fd00::7]:7700",
    ];
    assert_eq!(announced(&six, &here), expected);
    let report = six
        .exposure(&here.map(|ip| ip.parse().unwrap()))
        .to_string();
    assert!(
        report.contains("can be dialled at [2001:db8::7]:7700"),
        "{report}"
    );
    assert!(
        six.exposure(&[])
            .to_string()
            .contains("but not where it can be dialled")
    );
}

#[test]
fn a_grant_of_the_embedded_node_is_for_the_outer_node_unless_it_says_otherwise() {
    let config = accepted("embedded.toml");
    let acl = config.embedded.unwrap().acl(name(4));
    let peers: Vec<String> = acl
        .grants
        .iter()
        .map(|g| format!("{:?}", g.peers))
        .collect();
    assert!(peers[0].contains(&name(4).short()), "{peers:?}");
    assert!(peers[1].contains(&name(1).short()), "{peers:?}");
    assert!(!peers[1].contains(&name(4).short()), "{peers:?}");
}

#[test]
fn a_host_under_muses_is_a_service_or_the_loopback_of_that_node() {
    let config = accepted("client.toml");
    let gw = vec![Via::Name(name(1))];
    let service = |found: Result<(Vec<Via>, Target), OpenFailure>| match found {
        Ok((via, Target::Service(service))) => (via, service.as_str().to_owned()),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        service(config.choose(&host("SSH.Gw.muses"), 1)),
        (gw.clone(), "ssh".to_owned())
    );
    assert_eq!(
        service(config.choose(&host(&format!("web.{}.muses", name(3))), 1)),
        (vec![Via::Name(name(3))], "web".to_owned())
    );
    assert_eq!(
        config.choose(&host("gw.muses."), 8080),
        Ok((gw, Target::Loopback(8080)))
    );
    assert_eq!(
        config.choose(&host(&format!("{}.muses", name(3))), 22),
        Ok((vec![Via::Name(name(3))], Target::Loopback(22)))
    );
    for unknown in [
        "other.muses",
        "a.b.gw.muses",
        "ssh.other.muses",
        "embedded.muses",
    ] {
        assert_eq!(
            config.choose(&host(unknown), 22),
            Err(OpenFailure::UnknownName),
            "{unknown}"
        );
    }
    let embedded = accepted("embedded.toml");
    assert_eq!(
        embedded.choose(&host("embedded.muses"), 22),
        Ok((vec![Via::Embedded], Target::Loopback(22)))
    );
}

#[test]
fn the_first_route_that_matches_decides_and_none_denies() {
    let config = accepted("client.toml");
    let via = |text: &str, port| config.choose(&host(text), port).map(|(via, _)| via.len());
    assert_eq!(via("10.1.2.3", 22), Ok(2));
    assert_eq!(via("www.corp.example", 443), Ok(2));
    assert_eq!(via("www.corp.example", 22), Ok(1));
    assert_eq!(via("db.example", 5432), Ok(2));
    assert_eq!(via("db.example", 5433), Ok(1));
    assert_eq!(via("127.0.0.1", 22), Ok(1));
    assert_eq!(via("::1", 22), Ok(1));
    assert_eq!(via("muses", 22), Ok(1));
    let narrow = parse(&format!(
        "[[route]]\nmatch = [\"*:443\", \"10.0.0.0/8\"]\nvia = \"{}\"\n",
        name(1)
    ))
    .unwrap();
    let denied = Err(OpenFailure::Denied);
    assert_eq!(narrow.choose(&host("example.org"), 80), denied);
    assert_eq!(narrow.choose(&host("192.0.2.1"), 80), denied);
    assert!(narrow.choose(&host("192.168.0.1"), 443).is_ok());
    assert!(narrow.choose(&host("10.0.0.1"), 80).is_ok());
    assert_eq!(parse("").unwrap().choose(&host("example.org"), 80), denied);
}

#[test]
fn a_reload_may_change_grants_routes_aliases_groups_allow_and_deny_only() {
    let client = accepted("client.toml");
    let mut free = client.clone();
    free.routes.clear();
    free.network.allow = Allow::Auto;
    free.network.deny = [name(1)].into();
    free.forwarder = accepted("gateway.toml").forwarder;
    free.aliases = accepted("gateway.toml").aliases;
    assert_eq!(client.reload_difference(&free), Vec::<String>::new());

    let everything = parse_at(
        Path::new("elsewhere/proxy.toml"),
        "[network]\nid = \"x\"\nkey_file = \"k\"\n[link]\nlisten = [\"127.0.0.1:1\"]\n\
         [proxy]\nlisten = [\"127.0.0.1:2\"]\nallow_uids = []\nusers = { a = \"b\" }\n[embedded]\n\
         [session]\nprofile = \"paper\"\nmax_suspend = \"1h\"\nopen_timeout = \"1s\"\n\
         ack_every = 1\nack_delay = \"1ms\"\nmax_j = 1\non_memory_pressure = \"reset-oldest\"\n\
         [limits]\nmemory = \"1 GiB\"\n[control]\nsocket = \"s\"\n",
    )
    .unwrap();
    let difference = client.reload_difference(&everything);
    assert_eq!(difference.len(), 19, "{difference:#?}");

    let text = fs::read_to_string(cases("accept").join("client.toml")).unwrap();
    let moved = text.replace(&name(1).to_string(), &name(4).to_string());
    assert_eq!(
        parse_at(&cases("accept").join("client.toml"), &moved)
            .unwrap()
            .reload_difference(&client),
        ["[link] peers", "[[forward]]"]
    );
}

#[test]
fn a_changed_password_is_a_difference_and_an_equal_one_is_not() {
    let with =
        |password: &str| parse(&format!("[proxy]\nusers = {{ me = \"{password}\" }}\n")).unwrap();
    assert_eq!(with("a").reload_difference(&with("b")), ["[proxy] users"]);
    assert!(with("a").reload_difference(&with("a")).is_empty());
}

#[test]
fn the_exposure_of_a_gateway_names_every_listener_and_grant() {
    let here = ["192.0.2.7".parse().unwrap()];
    let report = accepted("gateway.toml").exposure(&here).to_string();
    let expected = "\
Listeners:
  0.0.0.0:7700: overlay links, from every machine that reaches this address
  control socket (automatic path): for this user only
Links dialled:
  none
Links accepted:
  laptop (agats5yovb6rox2wunkg…)
  phone (ahwuskggfdi4frxk5ebt…)
Denied, whatever else is allowed:
  nobody
Overlay:
  carries what other nodes send each other, sealed, and lets them join below it
  its directory tells every node of the overlay that this one is there
  … and that it can be dialled at 192.0.2.7:7700
Destinations, first match wins:
  NODE.muses, SERVICE.NODE.muses: that node
  anything else: refused
Granted by this node:
  service ssh is 127.0.0.1:22
  laptop (agats5yovb6rox2wunkg…) may open service ssh; addresses in 10.0.0.0/8, any port; \
names under corp.example with public addresses, port 443; at most 100 connections at once
  whoever may open a session may open service ssh
warning: [[forwarder.grant]] with peer = \"*\" is for whoever may open a session: \
name peers if you can
";
    assert_eq!(report, expected);
}

#[test]
fn the_exposure_of_the_shipped_file_says_what_the_embedded_node_opens() {
    let report = parse(&shipped()).unwrap().exposure(&[]).to_string();
    for line in [
        "127.0.0.1:1080: SOCKS5 and HTTP CONNECT, for programs on this machine, without password",
        "127.0.0.1, at a port that the system chooses: overlay links of the embedded node, \
         from programs on this machine, and only from this node",
        "everything: via the embedded node",
        "this node may open any name and any public address, any port; \
         every IPv4 address, private ones and loopback too, any port; \
         every IPv6 address, private ones and loopback too, any port",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

#[test]
fn what_is_easily_not_meant_is_warned_of() {
    let gw = name(1);
    for (text, warning) in [
        (
            "[session]\nprofile = \"paper\"\n".to_owned(),
            "the paper's suite",
        ),
        (
            "[proxy]\nlisten = [\"0.0.0.0:1\"]\nusers = { a = \"b\" }\n".to_owned(),
            "beyond this machine",
        ),
        (
            format!(
                "[[forward]]\nlisten = \"0.0.0.0:1\"\nfrom = \"10.0.0.0/8\"\nto = \"a:1\"\nvia = \"{gw}\"\n"
            ),
            "reaches a:1",
        ),
        ("[network]\nallow = []\n".to_owned(), "allow is empty"),
        (
            "[link]\nlisten = [\"127.0.0.1:1\"]\n".to_owned(),
            "nobody may link",
        ),
        (
            "[link]\npeers = [\"gw:1\"]\n".to_owned(),
            "pin it as NAME@gw:1",
        ),
        (
            format!("[link]\npeers = [\"{gw}@gw:1\"]\n"),
            "has no key_file",
        ),
        ("[forwarder]\n".to_owned(), "it denies every connection"),
        ("[embedded]\n".to_owned(), "it denies every connection"),
        (
            "[[forwarder.service]]\nname = \"a\"\nto = \"a:1\"\n".to_owned(),
            "granted to nobody",
        ),
        (
            format!("[[forwarder.grant]]\npeer = \"{gw}\"\nto = [\"0.0.0.0/0:*\"]\n"),
            "private networks too",
        ),
        (
            "[embedded]\n[[embedded.grant]]\npeer = \"*\"\nto = [\"*:*\"]\n".to_owned(),
            "whoever may open a session",
        ),
        (
            format!(
                "[[route]]\nmatch = [\"*\"]\nvia = \"{gw}\"\n\
                 [[route]]\nmatch = [\"a\"]\nvia = \"{gw}\"\n"
            ),
            "number 1 matches everything",
        ),
        (
            "[proxy]\nlisten = [\"127.0.0.1:1\"]\n".to_owned(),
            "there is no [[route]]",
        ),
    ] {
        let warnings = parse(&text).unwrap().exposure(&[]).warnings;
        assert!(
            warnings.iter().any(|said| said.contains(warning)),
            "{text}\n{warnings:#?}"
        );
    }
    assert_eq!(
        parse("").unwrap().exposure(&[]).warnings,
        Vec::<String>::new()
    );
}

#[test]
fn a_file_cut_off_or_spoilt_anywhere_is_read_or_refused_with_a_line() {
    let text = shipped().replace("\n#", "\n").replace("    ", "");
    let lines = text.lines().count();
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    for at in places.into_iter().step_by(17) {
        let (head, tail) = text.split_at(at);
        for spoilt in [head.to_owned(), format!("{head}\"{tail}"), tail.to_owned()] {
            if let Err(error) = parse(&spoilt) {
                let problems = error.problems();
                assert!(!problems.is_empty());
                assert!(problems.iter().all(|p| (1..=lines + 1).contains(&p.line)));
            }
        }
    }
}
