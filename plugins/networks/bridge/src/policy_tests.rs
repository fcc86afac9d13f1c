use std::collections::BTreeSet;

use berth_policy_sdk::Setting;

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Bridge, Error> {
    let setting = |&(key, value): &(&str, &str)| Setting { key: key.into(), value: value.into() };
    Bridge::configure(&mut Settings::new(pairs.iter().map(setting).collect()))
}

fn four_ports() -> Bridge {
    read(&[("port-range", "7000-7003")]).unwrap()
}

fn wants(job: JobId, node: &str, ports: &[u16]) -> NetworkRequest {
    NetworkRequest {
        job,
        user: "alice".into(),
        project: "default".into(),
        label: None,
        ports: ports.to_vec(),
        node: node.into(),
    }
}

fn host_ports(bridge: &mut Bridge, job: JobId, node: &str, ports: &[u16]) -> Result<Vec<u16>, Refusal> {
    let attachment = bridge.attach(0, wants(job, node, ports))?;
    assert_eq!(attachment.ports.iter().map(|port| port.job).collect::<Vec<_>>(), ports);
    Ok(attachment.ports.iter().map(|port| port.host).collect())
}

#[test]
fn no_host_port_is_given_twice_on_a_node() {
    let mut bridge = four_ports();
    let mut given = BTreeSet::new();
    for job in 0..2 {
        given.extend(host_ports(&mut bridge, job, "a", &[80, 443]).unwrap());
    }
    assert_eq!(given.into_iter().collect::<Vec<_>>(), [7000, 7001, 7002, 7003]);
    assert!(matches!(host_ports(&mut bridge, 2, "a", &[80]), Err(Refusal::NotNow(_))));
    assert!(host_ports(&mut bridge, 3, "b", &[80]).is_ok(), "another node has ports of its own");
    assert!(host_ports(&mut bridge, 4, "a", &[]).is_ok(), "no port is needed");
}

#[test]
fn what_is_released_is_given_out_again_but_not_at_once() {
    let mut bridge = four_ports();
    assert_eq!(host_ports(&mut bridge, 1, "a", &[80]).unwrap(), [7000]);
    bridge.release(0, 1);
    bridge.release(0, 99);
    assert_eq!(host_ports(&mut bridge, 2, "a", &[1, 2, 3]).unwrap(), [7001, 7002, 7003]);
    assert_eq!(host_ports(&mut bridge, 3, "a", &[80]).unwrap(), [7000]);
}

#[test]
fn asked_again_for_the_same_job_it_gives_the_same_answer() {
    let mut bridge = four_ports();
    let first = host_ports(&mut bridge, 1, "a", &[80, 81]);
    assert_eq!(host_ports(&mut bridge, 1, "a", &[80, 81]), first);
    // On another node it is another start, and what it had before is free.
    assert!(host_ports(&mut bridge, 1, "b", &[80, 81]).is_ok());
    assert!(host_ports(&mut bridge, 2, "a", &[1, 2, 3, 4]).is_ok());
}

#[test]
fn a_fresh_instance_that_was_told_gives_nothing_that_is_taken() {
    let mut old = four_ports();
    let given = old.attach(0, wants(1, "a", &[80, 81])).unwrap();
    let mut fresh = four_ports();
    fresh.attached(1, "a".into(), given.clone());
    assert_eq!(fresh.attach(0, wants(1, "a", &[80, 81])), Ok(given.clone()));
    let others = host_ports(&mut fresh, 2, "a", &[1, 2]).unwrap();
    assert!(given.ports.iter().all(|port| !others.contains(&port.host)));
    fresh.release(0, 1);
    assert!(host_ports(&mut fresh, 3, "a", &[1, 2]).is_ok());
}

#[test]
fn what_can_never_be_is_refused_for_good() {
    let mut bridge = four_ports();
    let label = |label: &str| NetworkRequest { label: Some(label.into()), ..wants(1, "a", &[]) };
    assert!(bridge.attach(0, label("public")).is_ok());
    assert!(bridge.attach(0, label("bridge")).is_ok());
    let mut other = label("project");
    other.job = 2;
    assert!(matches!(bridge.attach(0, other), Err(Refusal::Never(_))));
    assert!(matches!(host_ports(&mut bridge, 3, "a", &[1, 2, 3, 4, 5]), Err(Refusal::Never(_))));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for pair in [("port-range", "5-4"), ("port-range", "0-9"), ("port-range", "80"), ("network", " ")] {
        assert!(matches!(read(&[pair]), Err(Error::BadSettings(_))), "{pair:?}");
    }
    assert_eq!(read(&[("network", "lan")]).unwrap().attach(0, wants(1, "a", &[])).unwrap().network, "lan");
}
