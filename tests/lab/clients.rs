//! Programs that people use, unmodified. The server lets in nothing but the link, so what they get, they get
//! through muses.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use tempfile::TempDir;

use crate::net::{Place, find, run, skip};
use crate::node::wait_until;
use crate::sshd::{PROGRAMS, Sshd};
use crate::{Lab, SERVER};

const PROXY: &str = "socks5h://127.0.0.1:1080";

/// What a shell script that must succeed prints, without the last line end.
fn sh(place: &Place, script: &str) -> String {
    let out = place.stdout(&["sh", "-euc", script]);
    String::from_utf8(out).unwrap().trim_end().to_owned()
}

#[test]
fn curl_in_all_its_ways() {
    if skip("curl_in_all_its_ways", &["curl"]) {
        return;
    }
    let lab = Lab::new("curl");
    let client = &lab.net.client;
    let sum = sh(
        &lab.net.server,
        "curl -sSf http://127.0.0.1:8000/pattern/3000000 | sha256sum",
    );
    let get = "curl -sSf --max-time 20";
    for (way, host) in [
        ("--socks5 127.0.0.1:1080", SERVER),
        ("--socks5-hostname 127.0.0.1:1080", SERVER),
        // This name is the gateway's own loopback: it was resolved there.
        ("--socks5-hostname 127.0.0.1:1080", "localhost"),
        ("-x http://127.0.0.1:1080 --proxytunnel", SERVER),
        ("--socks5 127.0.0.1:1080", "[fd09::2]"),
        ("--socks5-hostname [::1]:1080", "[fd09::2]"),
        ("-x http://[::1]:1080 --proxytunnel", "[fd09::2]"),
    ] {
        let script = format!("{get} -g {way} http://{host}:8000/pattern/3000000 | sha256sum");
        assert_eq!(sh(client, &script), sum, "{way} {host}");
    }
    let urls = format!("http://{SERVER}:8000/pattern/[3000001-3000020]");
    let script = format!(
        "cd {} && {get} -x {PROXY} --parallel --parallel-max 20 '{urls}' -o 'got#1' && cat got* | wc -c",
        lab.folder.path().display()
    );
    assert_eq!(sh(client, &script), "60000210", "20 at once");
    let upload =
        format!("head -c 5000000 /dev/zero | {get} -x {PROXY} -T - http://{SERVER}:8000/count");
    assert_eq!(sh(client, &upload), "5000000");
    let refused = format!("curl -sS -x {PROXY} http://{SERVER}:1/ || echo $?");
    assert_eq!(sh(client, &refused), "97", "nothing listens there");
    println!("curl: socks5, socks5h, CONNECT, IPv6, 20 at once, upload, refusal");
}

#[test]
fn curl_with_a_password() {
    if skip("curl_with_a_password", &["curl"]) {
        return;
    }
    let lab = Lab::with("pass", "users = { me = \"open sesame\" }", "");
    let try_as = |way: &str| {
        let url = format!("http://{SERVER}:8000/pattern/10");
        let script = format!("curl -sS --max-time 20 -o /dev/null {way} {url} || echo $?");
        sh(&lab.net.client, &script)
    };
    let right = "--proxy-user 'me:open sesame'";
    assert_eq!(try_as(&format!("-x {PROXY} {right}")), "");
    assert_eq!(try_as(&format!("--socks5 127.0.0.1:1080 {right}")), "");
    assert_eq!(
        try_as(&format!("-x http://127.0.0.1:1080 --proxytunnel {right}")),
        ""
    );
    assert_eq!(try_as(&format!("-x {PROXY} --proxy-user me:guess")), "97");
    assert_eq!(try_as(&format!("-x {PROXY}")), "97");
    println!("curl: user and password, right, wrong and missing");
}

#[test]
fn ssh_scp_and_rsync() {
    let programs = [&PROGRAMS[..], &["scp", "rsync"]].concat();
    if skip("ssh_scp_and_rsync", &programs) {
        return;
    }
    let lab = Lab::new("ssh");
    let sshd = Sshd::start(lab.ends());
    let client = &lab.net.client;
    let folder = lab.folder.path().display().to_string();
    let config = sshd.config();
    sh(
        client,
        &format!("head -c 20000000 /dev/urandom > {folder}/data"),
    );
    for host in ["connect", "socks"] {
        let out = client.output(&sshd.ssh(&[host, "echo hello; exit 3"]));
        assert_eq!(out.status.code(), Some(3), "{host}");
        assert_eq!(out.stdout, b"hello\n", "{host}");
        let script = format!(
            "cd {folder}
             ssh -F {config} {host} 'cat > {folder}/piped' < data
             ssh -F {config} {host} 'cat {folder}/piped' | cmp - data
             scp -q -F {config} data {host}:{folder}/copied
             scp -q -F {config} {host}:{folder}/copied back
             cmp data back
             rsync -e 'ssh -F {config}' -a data {host}:{folder}/synced
             printf x >> data
             rsync -e 'ssh -F {config}' -a data {host}:{folder}/synced
             rsync -e 'ssh -F {config}' -a {host}:{folder}/synced back
             cmp data back
             rm copied synced back",
        );
        sh(client, &script);
    }
    println!("ssh, scp, rsync: ProxyCommand muses connect, nc -X 5");
}

#[test]
fn git_over_ssh_and_http() {
    let programs = [&PROGRAMS[..], &["git"]].concat();
    if skip("git_over_ssh_and_http", &programs) {
        return;
    }
    let lab = Lab::new("git");
    let sshd = Sshd::start(lab.ends());
    let folder = lab.folder.path().display().to_string();
    let script = format!(
        "cd {folder}
         export HOME={folder} GIT_CONFIG_NOSYSTEM=1 GIT_SSH_COMMAND='ssh -F {config}'
         git config --global user.name lab
         git config --global user.email lab@example.org
         git config --global http.proxy {PROXY}
         git config --global init.defaultBranch main
         git config --global safe.directory '*'
         git init -q --bare git/one.git
         git -C git/one.git config http.receivepack true
         git init -q first
         head -c 3000000 /dev/urandom > first/big
         git -C first add big
         git -C first commit -q -m one
         git -C first push -q connect:{folder}/git/one.git main
         git clone -q http://{SERVER}:8000/git/one.git second
         cmp first/big second/big
         head -c 3000000 /dev/urandom > second/more
         git -C second add more
         git -C second commit -q -m two
         git -C second push -q
         git clone -q socks:{folder}/git/one.git third
         cmp second/more third/more
         git -C third rev-list --count HEAD",
        config = sshd.config()
    );
    assert_eq!(sh(&lab.net.client, &script), "2");
    println!("git: clone and push over ssh and http");
}

/// A PostgreSQL server with its data in a scratch folder.
struct Postgres {
    server: Child,
    _data: TempDir,
}

impl Postgres {
    fn start(place: &Place) -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().to_str().unwrap();
        // It refuses to run as root.
        run(Command::new("chown").args(["postgres", path]));
        let as_postgres = ["runuser", "-u", "postgres", "--"];
        let program = |name: &str| find(name).unwrap().to_str().unwrap().to_owned();
        let (initdb, postgres) = (program("initdb"), program("postgres"));
        let make = [
            &as_postgres[..],
            &[&initdb, "-N", "--no-locale", "-A", "trust", "-D", path],
        ]
        .concat();
        place.stdout(&make);
        let hba = data.path().join("pg_hba.conf");
        fs::write(hba, "host all all 10.9.0.0/16 trust\n").unwrap();
        let serve = [
            &as_postgres[..],
            &[&postgres, "-F", "-D", path, "-h", SERVER, "-k", ""],
        ];
        Self {
            server: place.spawn(&serve.concat()),
            _data: data,
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The program in between passes only this signal on.
        let id = self.server.id().to_string();
        let _ended = Command::new("kill").args(["-TERM", &id]).status();
        let _ended = self.server.wait();
    }
}

#[test]
fn psql_through_a_fixed_forward_and_a_reset() {
    let programs = ["psql", "initdb", "postgres", "runuser"];
    if skip("psql_through_a_fixed_forward_and_a_reset", &programs) {
        return;
    }
    let forward =
        format!("[[forward]]\nlisten = \"127.0.0.1:5433\"\nto = \"{SERVER}:5432\"\nvia = \"gw\"\n");
    let lab = Lab::with("psql", "", &forward);
    let _postgres = Postgres::start(&lab.net.server);
    let psql = "psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p 5433 -U postgres";
    wait_until("PostgreSQL answers", || {
        let ready = format!("{psql} -c 'select 1'");
        lab.net
            .client
            .output(&["sh", "-c", &ready])
            .status
            .success()
    });
    // A temporary table lives as long as its connection: the sum comes from the one that was cut.
    let script = format!(
        "{psql} <<'END'
create temporary table numbers (number bigint);
insert into numbers select generate_series(1, 1000000);
\\! ss -K dport = 7700 > /dev/null
copy (select number from numbers) to stdout \\g /dev/null
\\! ss -K dport = 7700 > /dev/null
select sum(number) from numbers;
END"
    );
    assert_eq!(sh(&lab.net.client, &script), "500000500000");
    println!("psql: one session over two resets of the link");
}

/// A browser's profile and output go where it may write whatever its home is.
fn browser(folder: &Path) -> Vec<String> {
    let profile = folder.join("profile");
    [
        "chromium".to_owned(),
        "--headless".to_owned(),
        // It runs as root, in a namespace of its own.
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--proxy-server=socks5://127.0.0.1:1080".to_owned(),
        format!("--user-data-dir={}", profile.display()),
        "--dump-dom".to_owned(),
    ]
    .to_vec()
}

#[test]
fn chromium_with_many_assets_and_a_web_socket() {
    if skip("chromium_with_many_assets_and_a_web_socket", &["chromium"]) {
        return;
    }
    let lab = Lab::new("web");
    let browser = browser(lab.folder.path());
    let url = format!("http://{SERVER}:8000/page");
    let words: Vec<&str> = browser.iter().map(String::as_str).chain([&*url]).collect();
    let out = lab.net.client.output(&words);
    let page = String::from_utf8_lossy(&out.stdout);
    let expected = "100 scripts, 100 pictures, echo: is there anybody";
    assert!(
        page.contains(&format!("<p id=\"result\">{expected}</p>")),
        "{page}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    println!("chromium: {expected}");
}
