//! The `muses` program from outside: arguments, key files, exit codes, and `connect` against a
//! control socket that the test plays.
#![expect(clippy::unwrap_used, reason = "a test: a failed step shall panic")]

use std::{
    fs,
    io::{BufRead, BufReader, IoSlice, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::AsFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process};

fn muses(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muses"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("XDG_RUNTIME_DIR");
    command
}

fn output(dir: &Path, args: &[&str]) -> Output {
    muses(dir, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn keygen_makes_a_private_file_whose_name_both_commands_print() {
    let dir = tempfile::tempdir().unwrap();
    let made = output(dir.path(), &["keygen", "muses.key"]);
    assert_eq!(made.status.code(), Some(0));
    let name = text(&made.stdout);
    assert_eq!(name.trim_end().len(), 56);
    let file = dir.path().join("muses.key");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let before = fs::read(&file).unwrap();
    assert_eq!(
        text(&output(dir.path(), &["name", "muses.key"]).stdout),
        name
    );
    let again = output(dir.path(), &["keygen", "muses.key"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stdout.is_empty());
    assert!(text(&again.stderr).contains("not overwritten"));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn keygen_keeps_a_key_when_asked_and_writes_its_name_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let make = [
        "keygen",
        "--keep",
        "--name-file",
        "shared.name",
        "muses.key",
    ];
    let names = [(); 2].map(|()| {
        let made = output(dir.path(), &make);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        let shared = dir.path().join("shared.name");
        assert_eq!(fs::read(&shared).unwrap(), made.stdout);
        fs::remove_file(shared).unwrap();
        text(&made.stdout)
    });
    assert_eq!(names[0], names[1]);
    for _ in 0..2 {
        let made = output(
            dir.path(),
            &["keygen", "--keep", "--network", "network.key"],
        );
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    }
    // What is there must be a key.
    fs::write(dir.path().join("muses.key"), "nothing").unwrap();
    assert_eq!(output(dir.path(), &make).status.code(), Some(78));
}

#[test]
fn a_network_key_is_made_and_has_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let made = output(dir.path(), &["keygen", "--network", "network.key"]);
    assert_eq!(made.status.code(), Some(0));
    assert_eq!(text(&made.stdout), "network.key\n");
    let named = output(dir.path(), &["name", "network.key"]);
    assert_eq!(named.status.code(), Some(78));
}

#[test]
fn a_bad_key_file_stops_every_command_with_78_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("muses.key");
    fs::write(
        dir.path().join("proxy.toml"),
        "[identity]\nkey = \"muses.key\"\n",
    )
    .unwrap();
    assert_eq!(
        output(dir.path(), &["keygen", "muses.key"]).status.code(),
        Some(0)
    );
    let good = fs::read(&file).unwrap();
    for (content, mode, remedy) in [
        (&good[..], 0o644, "chmod 600"),
        (&good[..good.len() / 2], 0o600, "put back a copy"),
        (&b""[..], 0o600, "put back a copy"),
    ] {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        for args in [
            &["name", "muses.key"][..],
            &["run"],
            &["check"],
            &["status"],
        ] {
            let refused = output(dir.path(), args);
            assert_eq!(refused.status.code(), Some(78), "{args:?}");
            assert!(text(&refused.stderr).contains(remedy), "{args:?}");
            assert!(refused.stdout.is_empty());
        }
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

/// What must not be taken for a key, whatever it holds.
fn no_key_files(dir: &Path, good: &Path) {
    fs::create_dir(dir.join("directory")).unwrap();
    fs::copy(good, dir.join("read_by_others")).unwrap();
    fs::set_permissions(
        dir.join("read_by_others"),
        fs::Permissions::from_mode(0o604),
    )
    .unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("link_to_nowhere")).unwrap();
    std::os::unix::fs::symlink("read_by_others", dir.join("link_to_open")).unwrap();
    fs::write(dir.join("short"), "muses-").unwrap();
    fs::set_permissions(dir.join("short"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Every entry of a directory, and what it holds.
fn snapshot(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries
        .map(|path| (path.clone(), fs::read(path).ok()))
        .collect();
    all.sort();
    all
}

#[test]
fn nothing_but_a_private_file_is_taken_for_a_key_and_nothing_is_replaced() {
    for (kind, make, table) in [
        ("muses.key", &["keygen", "good.key"][..], "identity"),
        (
            "network.key",
            &["keygen", "--network", "good.key"],
            "network",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        assert!(output(dir.path(), make).status.success());
        let keys = dir.path().join("keys");
        fs::create_dir(&keys).unwrap();
        no_key_files(&keys, &dir.path().join("good.key"));
        for (name, remedy) in [
            ("directory", "not a regular file"),
            ("read_by_others", "chmod 600"),
            ("link_to_nowhere", "No such file"),
            ("link_to_open", "chmod 600"),
            ("short", "put back a copy"),
        ] {
            let config = format!("[{table}]\nkey = \"keys/{name}\"\n");
            let config = config.replace("[network]\nkey", "[network]\nkey_file");
            fs::write(dir.path().join("proxy.toml"), config).unwrap();
            let before = snapshot(&keys);
            let refused = output(dir.path(), &["run"]);
            let told = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(78), "{kind} {name}: {told}");
            assert!(
                told.contains(remedy) && told.contains(name),
                "{kind} {name}: {told}"
            );
            assert_eq!(snapshot(&keys), before, "{kind} {name}");
        }
    }
}

#[test]
fn a_link_to_a_private_key_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let made = output(dir.path(), &["keygen", "good.key"]);
    std::os::unix::fs::symlink("good.key", dir.path().join("linked.key")).unwrap();
    let named = output(dir.path(), &["name", "linked.key"]);
    assert_eq!(named.status.code(), Some(0));
    assert_eq!(text(&named.stdout), text(&made.stdout));
}

#[test]
fn passwords_in_a_file_that_others_can_read_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proxy.toml");
    fs::write(&file, "[proxy]\nusers = { me = \"hunter2\" }\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    for args in [&["run"][..], &["check"]] {
        let refused = output(dir.path(), args);
        assert_eq!(refused.status.code(), Some(78), "{args:?}");
        let told = text(&refused.stderr);
        assert!(
            told.contains("chmod 600") && !told.contains("hunter2"),
            "{told}"
        );
    }
    assert!(!dir.path().join("muses.key").exists(), "nothing was begun");
}

#[test]
fn wrong_usage_exits_64_and_help_0() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["frobnicate"][..],
        &["keygen"],
        &["connect"],
        &["connect", "host"],
        &["connect", "host", "0"],
        &["connect", "host", "65536"],
        &["connect", "--", "-oProxyCommand=x", "22"],
        &["connect", "a;b", "22"],
        &["kill"],
        &["kill", "all"],
        &["--log", "muses=loud", "name", "x"],
        &["run", "--frob"],
    ] {
        let refused = output(dir.path(), args);
        assert_eq!(refused.status.code(), Some(64), "{args:?}");
        assert!(refused.stdout.is_empty(), "{args:?}");
        assert!(!refused.stderr.is_empty(), "{args:?}");
    }
    for args in [
        &["--help"][..],
        &["-h"],
        &["connect", "--help"],
        &["--version"],
    ] {
        let shown = output(dir.path(), args);
        assert_eq!(shown.status.code(), Some(0), "{args:?}");
        assert!(shown.stderr.is_empty());
    }
    let help = text(&output(dir.path(), &["--help"]).stdout);
    for command in [
        "keygen", "name", "run", "check", "connect", "status", "kill",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
}

#[test]
fn a_missing_configuration_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["run"][..],
        &[],
        &["check"],
        &["status"],
        &["kill", "1"],
        &["connect", "a", "1"],
    ] {
        let refused = output(dir.path(), args);
        assert_eq!(refused.status.code(), Some(78), "{args:?}");
        assert!(refused.stdout.is_empty());
        let told = text(&refused.stderr);
        assert!(
            told.contains("no proxy.toml in") && told.contains("-c FILE"),
            "{told}"
        );
    }
}

#[test]
fn a_wrong_configuration_exits_78_and_a_right_one_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proxy.toml");
    for (wrong, told) in [
        ("[proxy\n", "1"),
        ("[proxy]\nlissten = []\n", "listen"),
        ("[[route]]\nmatch = [\"*\"]\nvia = \"nobody\"\n", "nobody"),
    ] {
        fs::write(&file, wrong).unwrap();
        for args in [&["check"][..], &["run"]] {
            let refused = output(dir.path(), args);
            assert_eq!(refused.status.code(), Some(78), "{args:?} {wrong}");
            assert!(refused.stdout.is_empty());
            let stderr = text(&refused.stderr);
            assert!(
                stderr.contains("proxy.toml") && stderr.contains(told),
                "{stderr}"
            );
        }
    }
    fs::write(&file, "[proxy]\nlisten = [\"127.0.0.1:1080\"]\n").unwrap();
    let right = output(dir.path(), &["check"]);
    assert_eq!(right.status.code(), Some(0));
    assert!(text(&right.stdout).contains("127.0.0.1:1080"));
}

#[test]
fn without_a_daemon_the_callers_exit_69() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("proxy.toml"), "").unwrap();
    for args in [
        &["status"][..],
        &["kill", "1"],
        &["connect", "a.example", "1"],
        &["map"],
        &["lookup", "gw"],
        &["trace", "gw"],
    ] {
        let refused = output(dir.path(), args);
        assert_eq!(refused.status.code(), Some(69), "{args:?}");
        assert!(refused.stdout.is_empty());
        assert!(text(&refused.stderr).contains("muses run"));
    }
}

/// A scratch directory whose configuration names a control socket, and that socket.
struct Daemon {
    dir: tempfile::TempDir,
    listener: UnixListener,
}

impl Daemon {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("c.sock");
        let config = format!("[control]\nsocket = {socket:?}\n");
        fs::write(dir.path().join("proxy.toml"), config).unwrap();
        Self {
            listener: UnixListener::bind(socket).unwrap(),
            dir,
        }
    }

    fn caller(&self, input: Stdio) -> Child {
        muses(self.dir.path(), &["connect", "db.example", "5432"])
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn request(&self) -> UnixStream {
        let (mut control, _) = self.listener.accept().unwrap();
        let request = line(&mut control);
        assert_eq!(
            request,
            "{\"connect\":{\"host\":\"db.example\",\"port\":5432}}\n"
        );
        control
    }

    /// Plays the daemon until the channel is open: the control connection, and the channel.
    fn open(&self) -> (UnixStream, UnixStream) {
        let control = self.request();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fds = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let text = [IoSlice::new(b"{\"opened\":true}\n")];
        sendmsg(&control, &text, &mut ancillary, SendFlags::empty()).unwrap();
        (control, ours)
    }
}

/// One line, byte by byte, so that nothing behind it is lost.
fn line(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\n") && stream.read(&mut byte).unwrap() == 1 {
        bytes.push(byte[0]);
    }
    text(&bytes)
}

fn all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn connect_carries_every_byte_and_each_direction_ends_on_its_own() {
    let daemon = Daemon::new();
    let mut caller = daemon.caller(Stdio::piped());
    let (mut control, mut channel) = daemon.open();
    let (mut stdin, mut stdout) = (caller.stdin.take().unwrap(), caller.stdout.take().unwrap());
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(300_000).collect();
    channel.write_all(&bytes[..70_000]).unwrap();
    channel.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        all(&mut stdout),
        &bytes[..70_000],
        "stdout is closed while stdin is open"
    );
    let sent = bytes.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    assert_eq!(all(&mut channel), bytes);
    writing.join().unwrap();
    assert_eq!(line(&mut control), "{\"eof\":true}\n");
    control.write_all(b"{\"ended\":\"clean\"}\n").unwrap();
    assert_eq!(caller.wait().unwrap().code(), Some(0));
    assert!(all(&mut caller.stderr.take().unwrap()).is_empty());
}

#[test]
fn connect_ends_with_the_connection_although_stdin_is_open() {
    for (told, code) in [
        (&b"{\"ended\":\"clean\"}\n"[..], 0),
        (b"{\"ended\":\"cut\"}\n", 76),
        (b"", 76),
    ] {
        let daemon = Daemon::new();
        let mut caller = daemon.caller(Stdio::piped());
        let (mut control, mut channel) = daemon.open();
        channel.write_all(b"last").unwrap();
        control.write_all(told).unwrap();
        drop((control, channel));
        assert_eq!(all(&mut caller.stdout.take().unwrap()), b"last");
        assert_eq!(caller.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn connect_takes_files_and_sockets_as_stdin() {
    let file = {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), b"question").unwrap();
        fs::File::open(dir.path().join("f")).unwrap()
    };
    let (socket, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"question").unwrap();
    drop(far);
    socket.set_nonblocking(true).unwrap();
    for input in [
        Stdio::from(file),
        Stdio::from(std::os::fd::OwnedFd::from(socket)),
    ] {
        let daemon = Daemon::new();
        let mut caller = daemon.caller(input);
        let (mut control, mut channel) = daemon.open();
        assert_eq!(all(&mut channel), b"question");
        drop(channel);
        control.write_all(b"{\"ended\":\"clean\"}\n").unwrap();
        assert_eq!(caller.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn connect_exits_with_the_code_of_the_failure_and_a_silent_stdout() {
    for code in [1, 68, 75, 76, 77, 111, 113] {
        let daemon = Daemon::new();
        let caller = daemon.caller(Stdio::null());
        let mut control = daemon.request();
        let answer = format!("{{\"failed\":\"x\",\"exit\":{code},\"message\":\"because\"}}\n");
        control.write_all(answer.as_bytes()).unwrap();
        let output = caller.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).contains("db.example:5432: because"));
    }
}

#[test]
fn a_daemon_that_ends_before_its_answer_is_no_daemon() {
    let daemon = Daemon::new();
    let caller = daemon.caller(Stdio::null());
    drop(daemon.request());
    let output = caller.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_trace_shows_each_step_as_it_comes_and_its_end_is_the_exit_code() {
    for (end, code) in [("true", 0), ("false", 75)] {
        let daemon = Daemon::new();
        let mut caller = muses(daemon.dir.path(), &["trace", "far"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut control, _) = daemon.listener.accept().unwrap();
        assert_eq!(line(&mut control), "{\"trace\":{\"name\":\"far\"}}\n");
        let mut shown = BufReader::new(caller.stdout.take().unwrap());
        for (hop, wanted) in [
            (
                r#"{"hop":{"hop":1,"name":"ae","alias":"gw","ms":1.25}}"#,
                "1 gw 1.2 ms -",
            ),
            (r#"{"hop":{"hop":2}}"#, "2 * - -"),
            (
                r#"{"hop":{"hop":3,"name":"aefar","place":{"path":[[4,9]]},"ms":7.0}}"#,
                "3 aefar 7.0 ms /4",
            ),
        ] {
            control.write_all(format!("{hop}\n").as_bytes()).unwrap();
            let mut text = String::new();
            shown.read_line(&mut text).unwrap();
            let words: Vec<_> = text.split_whitespace().collect();
            assert_eq!(words.join(" "), wanted);
        }
        control
            .write_all(format!("{{\"traced\":{end}}}\n").as_bytes())
            .unwrap();
        assert_eq!(caller.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_lookup_shows_the_record_or_exits_with_the_code_of_the_failure() {
    let found = r#"{"found":{"name":"aefar","places":[{"tree":"aa","term":2,"path":[[4,9]]}],
        "endpoints":["h:1"],"serial":5,"not_after":77}}"#
        .replace('\n', " ");
    let failed = r#"{"failed":"unknown_name","exit":68,"message":"nobody knows it"}"#;
    for (answer, arguments, code, wanted) in [
        (
            found.as_str(),
            &["lookup", "far"][..],
            0,
            "place /4 of tree aa, term 2\nendpoint h:1\n",
        ),
        (&found, &["lookup", "far", "--json"], 0, "\"endpoints\": ["),
        (failed, &["lookup", "far"], 68, "nobody knows it"),
        ("{\"killed\":true}", &["lookup", "far"], 1, "not understood"),
    ] {
        let daemon = Daemon::new();
        let caller = muses(daemon.dir.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut control, _) = daemon.listener.accept().unwrap();
        assert_eq!(line(&mut control), "{\"lookup\":{\"name\":\"far\"}}\n");
        control.write_all(format!("{answer}\n").as_bytes()).unwrap();
        drop(control);
        let out = caller.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(code), "{answer}");
        let told = if code == 0 { out.stdout } else { out.stderr };
        assert!(text(&told).contains(wanted), "{}", text(&told));
    }
}

#[test]
fn hanging_up_sends_the_last_words_and_ends_properly() {
    let daemon = Daemon::new();
    let mut caller = daemon.caller(Stdio::piped());
    let (mut control, mut channel) = daemon.open();
    alive(&mut caller, &mut channel);
    let mut stdin = caller.stdin.take().unwrap();
    stdin.write_all(b"bye").unwrap();
    drop(stdin);
    signal(&caller, Signal::HUP);
    assert_eq!(all(&mut channel), b"bye");
    assert_eq!(line(&mut control), "{\"eof\":true}\n");
    assert_eq!(caller.wait().unwrap().code(), Some(129));
}

#[test]
fn a_killed_caller_says_nothing_more() {
    let daemon = Daemon::new();
    let mut caller = daemon.caller(Stdio::piped());
    let (mut control, mut channel) = daemon.open();
    alive(&mut caller, &mut channel);
    signal(&caller, Signal::KILL);
    caller.wait().unwrap();
    assert_eq!(line(&mut control), "");
    drop(channel);
}

/// A byte through the channel shows that the program listens to signals.
fn alive(caller: &mut Child, channel: &mut UnixStream) {
    channel.write_all(b"x").unwrap();
    let stdout = caller.stdout.as_mut().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[test]
fn the_daemon_reports_ready_reloads_and_stops_with_0() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("proxy.toml"), "").unwrap();
    let notify: PathBuf = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).unwrap();
    let mut daemon = muses(dir.path(), &[])
        .env("NOTIFY_SOCKET", &notify)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bytes = [0; 64];
    let len = manager.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"READY=1");
    let mut log = BufReader::new(daemon.stderr.take().unwrap());
    let mut until = |word: &str| {
        let mut read = String::new();
        while !read.contains(word) {
            assert_ne!(log.read_line(&mut read).unwrap(), 0, "{word} in {read}");
        }
    };
    until("ready");
    let status = output(dir.path(), &["status", "--json"]);
    assert_eq!(status.status.code(), Some(0));
    assert!(text(&status.stdout).contains("\"sessions\""));
    let second = output(dir.path(), &["run"]);
    assert_eq!(second.status.code(), Some(78), "one daemon per identity");
    signal(&daemon, Signal::HUP);
    until("configuration");
    signal(&daemon, Signal::TERM);
    let len = manager.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"STOPPING=1");
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    assert!(!dir.path().join("muses.key.sock").exists());
}
