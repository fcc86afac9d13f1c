use clap::{FromArgMatches, Parser};
use serde_json::{Value, json};

use super::*;

#[derive(Parser)]
#[command(no_binary_name = true)]
struct OnlyOptions {
    #[command(flatten)]
    options: JobOptions,
}

fn submit(words: &[&str]) -> Result<Submit, clap::Error> {
    let options = OnlyOptions::try_parse_from(words)?.options;
    Ok(options.into_submit(Path::new("/home/ann")).unwrap())
}

/// What the words become on the wire.
fn wire(words: &[&str]) -> Value {
    serde_json::to_value(submit(words).unwrap()).unwrap()
}

#[test]
fn every_option_reaches_its_field() {
    for (words, field) in [
        (&["--name", "n"][..], json!({"name": "n"})),
        (&["-n", "n"], json!({"name": "n"})),
        (&["--description", "d d"], json!({"description": "d d"})),
        (&["--tag", "a,b", "--tag", "c"], json!({"tags": ["a", "b", "c"]})),
        (&["--project", "p"], json!({"project": "p"})),
        (&["--class", "c"], json!({"class": "c"})),
        (&["--executor", "x"], json!({"executor": "x"})),
        (&["--image", "alpine:3"], json!({"image": "alpine:3"})),
        (&["--cpus", "0.5"], json!({"cpus": "0.5"})),
        (&["-c", "500m"], json!({"cpus": "500m"})),
        (&["--memory", "1.5G"], json!({"memory": "1.5G"})),
        (&["--gpus", "2"], json!({"gpus": 2})),
        (&["--exclusive"], json!({"exclusive": true})),
        (
            &["--resource", "licence=2", "--resource", "gpu_10.5", "--resource", "gpu_10.5"],
            json!({"resources": {"gpu_10.5": 2, "licence": 2}}),
        ),
        (&["--time", "1-12:00:00"], json!({"time": "1-12:00:00"})),
        (&["--grace", "10s"], json!({"grace": "10s"})),
        (&["--array", "1-100:2%10"], json!({"array": "1-100:2%10"})),
        (&["--after-ok", "12,12.7", "--after-ok", "3"], json!({"after_ok": ["12", "12.7", "3"]})),
        (&["--after-any", "12"], json!({"after_any": ["12"]})),
        (&["--after-not-ok", "12"], json!({"after_not_ok": ["12"]})),
        (&["--hold"], json!({"hold": true})),
        (&["--begin", "2h"], json!({"begin": "2h"})),
        (&["--begin", "2030-01-31T09:00:00Z"], json!({"begin": "2030-01-31T09:00:00Z"})),
        (&["--priority", "-5"], json!({"priority": -5})),
        (&["--volume", "home:ro", "-v", "data"], json!({"volumes": ["home:ro", "data"]})),
        (&["--env", "A=1=2", "-e", "B="], json!({"env": {"A": "1=2", "B": ""}})),
        (&["--workdir", "sub/./dir"], json!({"workdir": "/home/ann/sub/dir"})),
        (&["--workdir", "/tmp"], json!({"workdir": "/tmp"})),
        (&["--output", "out-%t.txt"], json!({"output": "out-%t.txt"})),
        (&["--error", "/var/log/e"], json!({"error": "/var/log/e"})),
        (&["--port", "8080,9090"], json!({"ports": [8080, 9090]})),
        (&["--network", "bridge"], json!({"network": "bridge"})),
        (&["--constraint", "arch=arm64"], json!({"constraints": {"arch": "arm64"}})),
        (&["--label", "team=x"], json!({"labels": {"team": "x"}})),
        (&["--scratch", "10G"], json!({"scratch": "10G"})),
        (&["--uri", "http://a"], json!({"uris": ["http://a"]})),
        (&["--interactive"], json!({"interactive": true})),
        (&["--root"], json!({"root": true})),
        (&["--retry-on-node-failure", "3"], json!({"retry_on_node_failure": 3})),
        (&["--avoid-failed-nodes"], json!({"avoid_failed_nodes": true})),
        (&["--notify", "start,end", "--notify", "fail"], json!({"notify": ["start", "end", "fail"]})),
        (&["--mail", "ann@example.org"], json!({"mail": "ann@example.org"})),
        (&["--option", "docker.shm-size=1G"], json!({"options": {"docker.shm-size": "1G"}})),
    ] {
        assert_eq!(wire(words), field, "{words:?}");
    }
}

#[test]
fn every_field_but_the_command_has_an_option() {
    let all = [
        "--name",
        "n",
        "--description",
        "d",
        "--tag",
        "t",
        "--project",
        "p",
        "--class",
        "c",
        "--executor",
        "x",
        "--image",
        "i",
        "--cpus",
        "1",
        "--memory",
        "1G",
        "--gpus",
        "1",
        "--exclusive",
        "--time",
        "1h",
        "--grace",
        "1s",
        "--array",
        "1-2",
        "--after-ok",
        "1",
        "--after-any",
        "1",
        "--after-not-ok",
        "1",
        "--hold",
        "--begin",
        "1h",
        "--priority",
        "1",
        "--volume",
        "v",
        "--env",
        "K=V",
        "--workdir",
        "/",
        "--output",
        "o",
        "--error",
        "e",
        "--port",
        "1",
        "--network",
        "n",
        "--constraint",
        "k=v",
        "--label",
        "k=v",
        "--scratch",
        "1G",
        "--resource",
        "licence=2",
        "--uri",
        "u",
        "--interactive",
        "--root",
        "--retry-on-node-failure",
        "1",
        "--avoid-failed-nodes",
        "--notify",
        "end",
        "--mail",
        "a@b",
        "--option",
        "a.b=c",
    ];
    let command = <OnlyOptions as clap::CommandFactory>::command();
    for argument in command.get_arguments().filter_map(|argument| argument.get_long()) {
        assert!(
            argument == "help" || all.contains(&format!("--{argument}").as_str()),
            "{argument} is not tried"
        );
    }
    // What is laid over nothing, and what nothing is laid over, stays whole.
    let full = submit(&all).unwrap();
    assert_eq!(overlay(full.clone(), Submit::default()), full);
    assert_eq!(overlay(Submit::default(), full.clone()), full);
    let matches = command.no_binary_name(true).try_get_matches_from(all).unwrap();
    assert!(OnlyOptions::from_arg_matches(&matches).is_ok());
}

#[test]
fn a_variable_without_a_value_takes_the_one_it_has_here() {
    let path = std::env::var("PATH").unwrap();
    assert_eq!(wire(&["--env", "PATH"]), json!({"env": {"PATH": path}}));
    let error = submit(&["--env", "BERTH_NOT_SET_ANYWHERE"]).unwrap_err().to_string();
    assert!(
        error.contains("BERTH_NOT_SET_ANYWHERE is not set here; write BERTH_NOT_SET_ANYWHERE=VALUE"),
        "{error}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    for (words, hint) in [
        (["--cpus", "two"], "is not a number of CPUs; write 2, 0.5 or 500m"),
        (["--memory", "4Q"], "is not a size"),
        (["--time", "soon"], "is not a duration"),
        (["--array", "9-1"], "ends before it begins"),
        (["--after-ok", "x"], "is not a job"),
        (["--begin", "tomorrow"], "is neither a time such as"),
        (["--env", "=x"], "is not of the form K=V"),
        (["--constraint", "arch"], "is not of the form K=V"),
        (["--port", "0"], "0 is not in 1..=65535"),
        (["--gpus", "-1"], "unexpected argument '-1'"),
    ] {
        let error = submit(&words).unwrap_err().to_string();
        assert!(error.contains(hint), "{words:?}: {error}");
    }
}

#[test]
fn single_values_and_lists_are_replaced_and_maps_merged() {
    let header =
        submit(&["--cpus", "1", "--time", "1h", "--volume", "a", "--env", "A=1", "--env", "B=1"]).unwrap();
    let line = submit(&["--cpus", "2", "--volume", "b", "--env", "B=2", "--hold"]).unwrap();
    let both = overlay(header, line);
    assert_eq!(
        serde_json::to_value(both).unwrap(),
        json!({"cpus": "2", "time": "1h", "volumes": ["b"], "env": {"A": "1", "B": "2"}, "hold": true})
    );
}
