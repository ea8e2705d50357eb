//! What a node tells of the overlay: status, map, lookup and trace.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::node::{GRANTS, Node, client_config, gateway_config, keygen, wait_until};
use crate::pair::{Pair, echo, exchange, serve, socks, v4};

/// Exit code and both outputs.
fn run(node: &Node, arguments: &[&str]) -> (Option<i32>, String, String) {
    let out = node.command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    let (code, out, err) = run(node, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

/// One of them hangs below the other.
fn settled(pair: &Pair) -> bool {
    let nodes = [&pair.client, &pair.gateway].map(Node::status);
    let [near, far] = nodes.map(|status| status["overlay"]["neighbours"][0].clone());
    let roles = [near["role"].as_str(), far["role"].as_str()];
    let mut roles = roles.map(Option::unwrap_or_default);
    roles.sort_unstable();
    roles == ["child", "parent"] && near["place"].is_object() && far["place"].is_object()
}

#[test]
fn both_ends_of_a_link_tell_the_same_of_the_tree() {
    let pair = Pair::new();
    wait_until("one hangs below the other", || settled(&pair));
    exchange(pair.connect(serve(echo)), 1, 10_000);
    let [client, gateway] = [&pair.client, &pair.gateway].map(Node::status);
    for (own, other) in [(&client, &gateway), (&gateway, &client)] {
        let overlay = &own["overlay"];
        let neighbour = &overlay["neighbours"][0];
        assert_eq!(neighbour["name"], other["name"]);
        assert_eq!(neighbour["place"], other["overlay"]["place"]);
        assert_eq!(neighbour["health"], "good");
        assert!(neighbour["last_answer_ms"].is_u64());
        assert_eq!(overlay["root"], other["overlay"]["root"]);
        assert_eq!(overlay["degree"], 64);
        let is_child = neighbour["role"] == "child";
        assert_eq!(overlay["children"], u64::from(is_child));
        assert_eq!(overlay["parent"].is_null(), is_child);
        let way = &own["sessions"][0]["way"];
        assert_eq!(way["kind"], "direct");
        assert_eq!(way["hops"], 1);
        assert_eq!(way["place"], other["overlay"]["place"]);
    }
    assert_eq!(client["overlay"]["neighbours"][0]["alias"], "gw");
    let (code, out, _) = run(&pair.client, &["status"]);
    assert_eq!(code, Some(0));
    for word in ["overlay: place /", "neighbours:", "routes:", "direct"] {
        assert!(out.contains(word), "{word} in {out}");
    }
}

#[test]
fn a_neighbour_is_one_step_away_and_nobody_else_is_known() {
    let pair = Pair::new();
    let name = pair.gateway.status()["name"].as_str().unwrap().to_owned();
    wait_until(
        "the link has been measured, and there is a directory",
        || pair.client.status()["overlay"]["neighbours"][0]["rtt_ms"].is_f64() && settled(&pair),
    );
    for node in ["gw", "GW", &name] {
        let trace = json(&pair.client, &["trace", node, "--json"]);
        assert_eq!(trace["reached"], true);
        assert_eq!(trace["hops"].as_array().map(Vec::len), Some(1));
        let hop = &trace["hops"][0];
        assert_eq!((&hop["hop"], &hop["alias"]), (&1.into(), &"gw".into()));
        assert_eq!(hop["name"], name.as_str());
        assert!(hop["ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 1e4));
    }
    let (code, out, _) = run(&pair.client, &["trace", "gw"]);
    assert_eq!(code, Some(0));
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.contains("gw") && out.contains(" ms"), "{out}");
    let own = pair.client.status()["name"].as_str().unwrap().to_owned();
    assert_eq!(run(&pair.client, &["trace", &own]).0, Some(0));

    let stranger = keygen(&pair.client.folder.join("stranger"));
    for command in ["trace", "lookup"] {
        for node in ["gv", &stranger] {
            let (code, out, err) = run(&pair.client, &[command, node]);
            assert_eq!(code, Some(68), "{command} {node}: {err}");
            assert!(out.is_empty());
        }
        let (_, _, err) = run(&pair.client, &[command, "gv"]);
        assert!(err.contains("did you mean \"gw\""), "{err}");
    }
}

#[test]
fn who_is_cut_off_hears_that_nobody_answers_and_not_that_a_name_is_unknown() {
    let Pair {
        client,
        gateway,
        _folder,
    } = Pair::new();
    let name = gateway.status()["name"].as_str().unwrap().to_owned();
    drop(gateway);
    wait_until("it is alone", || {
        client.status()["overlay"]["neighbours"] == Value::Array(Vec::new())
    });
    for command in ["trace", "lookup"] {
        for node in ["gw", &name] {
            let (code, out, err) = run(&client, &[command, node]);
            assert_eq!(code, Some(75), "{command} {node}: {err}");
            assert!(out.is_empty());
            assert!(err.contains("answer"), "{err}");
        }
        let (code, _, err) = run(&client, &[command, "gv"]);
        assert_eq!(code, Some(68), "{command}: {err}");
    }
}

#[test]
fn the_map_is_written_into_a_file_or_to_stdout() {
    let pair = Pair::new();
    wait_until("one hangs below the other", || settled(&pair));
    let (code, out, _) = run(&pair.client, &["map"]);
    assert_eq!((code, out.as_str()), (Some(0), "muses-map.svg\n"));
    let file = fs::read_to_string(pair.client.folder.join("muses-map.svg")).unwrap();
    let (code, out, _) = run(&pair.client, &["map", "-"]);
    assert_eq!(code, Some(0));
    for svg in [&file, &out] {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("class=\"own\"").count(), 1);
        assert!(svg.contains("<title>gw at /"), "{svg}");
        assert_eq!(svg.matches("class=\"tree\"").count(), 1);
    }
    let (code, _, err) = run(&pair.client, &["map", "no/such/folder.svg"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no/such/folder.svg"), "{err}");
}

#[test]
fn a_node_behind_another_is_looked_up_traced_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let names = ["client", "gateway", "far"].map(|node| keygen(&place(node)));
    let [client, gateway, far] = &names;
    // Both dial the gateway, and nobody can dial them.
    let config = gateway_config(&format!("{client}\", \"{far}"), 0, "");
    let gateway_node = Node::start(&place("gateway"), &config, &[]);
    let link = gateway_node.address("link");
    let config = format!("[link]\npeers = [\"{gateway}@{link}\"]\n{GRANTS}");
    let far_node = Node::start(&place("far"), &config, &[]);
    let config = client_config(gateway, link, "")
        .replace("[link]", &format!("far = \"{far}\"\n[link]"))
        .replace("via = \"gw\"", "via = \"far\"");
    let node = Node::start(&place("client"), &config, &[]);

    // Three trees become one, and the directory hears of it.
    wait_until("it is found where it hangs", || {
        run(&node, &["trace", "far"]).0 == Some(0)
    });
    let found = json(&node, &["lookup", "far", "--json"]);
    assert_eq!(found["name"], far.as_str());
    assert_eq!(found["alias"], "far");
    assert!(found["places"][0]["path"].is_array());
    assert!(found["seq"].as_u64() > Some(0));

    let trace = json(&node, &["trace", "far", "--json"]);
    assert_eq!(trace["reached"], true);
    let hops = trace["hops"].as_array().unwrap();
    let aliases: Vec<_> = hops.iter().map(|hop| hop["alias"].as_str()).collect();
    assert_eq!(aliases, [Some("gw"), Some("far")]);
    assert!(hops.iter().all(|hop| hop["ms"].as_f64() > Some(0.0)));

    exchange(
        socks(node.address("proxy"), &v4(serve(echo))).unwrap(),
        1,
        100_000,
    );
    let status = node.status();
    let way = &status["sessions"][0]["way"];
    assert_eq!(
        (&way["kind"], &way["by_alias"]),
        (&"relayed".into(), &"gw".into())
    );
    assert_eq!(way["hops"], 2);
    assert_eq!(way["place"], far_node.status()["overlay"]["place"]);
    let relay = &gateway_node.status()["overlay"]["relay"];
    assert!(relay["frames"].as_u64() > Some(0) && relay["bytes"].as_u64() > Some(100_000));
    let directory = &gateway_node.status()["overlay"]["directory"];
    assert!(directory["records"].as_u64() > Some(0), "{directory}");
    let (_, map, _) = run(&node, &["map", "-"]);
    assert!(map.contains("<title>far at /"), "{map}");
    assert!(map.contains("with far, relayed</title>"), "{map}");
}

#[test]
fn who_is_not_allowed_is_told_that_nobody_takes_its_link() {
    let folder = tempfile::tempdir().unwrap();
    let [gateway, client] = ["gateway", "client"].map(|name| folder.path().join(name));
    let name = keygen(&gateway);
    keygen(&client);
    let config = format!("[network]\nallow = []\n[link]\nlisten = [\"127.0.0.1:0\"]\n{GRANTS}");
    let gateway = Node::start(&gateway, &config, &[]);
    let config = client_config(&name, gateway.address("link"), "");
    let client = Node::start(&client, &config, &[]);
    let error = |status: &Value| {
        let links = status["links"].as_array().unwrap();
        assert!(links.iter().all(|link| link["state"] != "up"), "{links:?}");
        let errors = links.iter().filter_map(|link| link["error"].as_str());
        errors.map(str::to_owned).next()
    };
    wait_until("status says why there is no link", || {
        error(&client.status()).is_some_and(|error| error.contains("does not take the link"))
    });
    // It stays so, however often it is tried.
    for _ in 0..50 {
        assert!(error(&client.status()).is_some());
    }
}

#[test]
fn who_stops_is_known_to_have_left_at_once() {
    let mut pair = Pair::new();
    let name = pair.client.status()["name"].as_str().unwrap().to_owned();
    let look_up = |pair: &Pair| {
        let mut command = pair.gateway.command(&["lookup", &name]);
        command.output().unwrap().status.code()
    };
    wait_until("the client is in the directory", || {
        look_up(&pair) == Some(0)
    });
    pair.client.signal(Signal::TERM);
    assert_eq!(pair.client.child.wait().unwrap().code(), Some(0));
    assert_eq!(look_up(&pair), Some(68));
}
