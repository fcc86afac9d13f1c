//! `berth nodes`.

use berth_api::{DaemonRow, NodeRow, ResourceRow};
use berth_model::{UtcMs, format_bytes};
use clap::Args;

use super::Session;
use crate::{
    exit_code::Status,
    output::{
        cpus,
        table::{Column, Table},
        time,
    },
};

/// The role of the process that runs the jobs.
const LEADER: &str = "leader";

/// The nodes.
#[derive(Args, Clone, Debug)]
pub struct NodesArgs {
    /// List the processes of this Berth instead; exit code 1 when none of them leads
    #[arg(long)]
    daemons: bool,
}

impl NodesArgs {
    /// Lists them.
    ///
    /// # Errors
    /// When the server cannot be asked, or refuses.
    pub async fn run(self, session: &Session) -> anyhow::Result<Status> {
        let client = session.client().await?;
        if self.daemons {
            return daemons(session, &client.daemons().await?);
        }
        let nodes = client.nodes().await?;
        if session.output.json {
            session.output.document(&nodes)?;
            return Ok(Status::OK);
        }
        session.output.table(table(&nodes))?;
        let shared = client.resources().await?;
        if !shared.is_empty() {
            session.output.text(&format!("shared by all nodes: {}\n", amounts(&shared)))?;
        }
        Ok(Status::OK)
    }
}

fn daemons(session: &Session, rows: &[DaemonRow]) -> anyhow::Result<Status> {
    match session.output.json {
        true => session.output.document(&rows)?,
        false => session.output.table(daemon_table(rows, time::now()))?,
    }
    let leads = rows.iter().any(|row| row.role == LEADER);
    Ok(if leads { Status::OK } else { Status::FAILED })
}

fn daemon_table(rows: &[DaemonRow], now: UtcMs) -> Table {
    let mut table = Table::new(&[
        Column::text("DAEMON", 12),
        Column::fixed("ROLE"),
        Column::text("HOST", 10).leaving(3),
        Column::number("PID").leaving(4),
        Column::text("VERSION", 7).leaving(2),
        Column::text("STARTED", 10).leaving(1),
        Column::text("LISTENS AT", 16),
    ]);
    for row in rows {
        table.row([
            row.instance.clone(),
            row.role.clone(),
            row.host.clone(),
            row.pid.to_string(),
            row.version.clone(),
            time::both(&row.started, now),
            row.doors.join(", "),
        ]);
    }
    table
}

/// How much is used of each: `licence 3/5, scratch 0/100`.
fn amounts(resources: &[ResourceRow]) -> String {
    let amount = |row: &ResourceRow| format!("{} {}/{}", row.name, row.used, row.total);
    resources.iter().map(amount).collect::<Vec<_>>().join(", ")
}

fn table(nodes: &[NodeRow]) -> Table {
    let mut table = Table::new(&[
        Column::text("NODE", 12),
        Column::fixed("STATE"),
        Column::number("CPU"),
        Column::number("MEM").leaving(2),
        Column::number("GPU").leaving(3),
        Column::text("RESOURCES", 12).leaving(4),
        Column::number("JOBS"),
        Column::text("NOTE", 20).leaving(1),
    ]);
    for node in nodes {
        let gpus = match node.gpus_total {
            0 => String::new(),
            total => format!("{}/{total}", node.gpus_used),
        };
        table.row([
            node.name.clone(),
            node.state.clone(),
            format!("{}/{}", cpus(node.cpu_millis_used), cpus(node.cpu_millis_total)),
            format!("{}/{}", format_bytes(node.memory_bytes_used), format_bytes(node.memory_bytes_total)),
            gpus,
            amounts(&node.resources),
            node.jobs.to_string(),
            node.note
                .iter()
                .cloned()
                .chain(node.closures.iter().map(super::closure::words))
                .collect::<Vec<_>>()
                .join("; "),
        ]);
    }
    table.drop_if_all("GPU", "");
    table.drop_if_all("RESOURCES", "");
    table.drop_if_all("NOTE", "");
    table
}

#[cfg(test)]
pub mod tests {
    use berth_api::ClosureRow;

    use super::*;

    pub fn sample() -> Vec<NodeRow> {
        let node = |name: &str, state: &str, used, jobs| NodeRow {
            name: name.into(),
            executor: "local".into(),
            state: state.into(),
            cpu_millis_total: 4000,
            cpu_millis_used: used,
            memory_bytes_total: 16 << 30,
            memory_bytes_used: used << 21,
            gpus_total: 0,
            gpus_used: 0,
            resources: Vec::new(),
            closures: Vec::new(),
            jobs,
            note: None,
        };
        let away = NodeRow {
            note: Some("no answer since 3 minutes; trying again in 10 s".into()),
            ..node("swarm/worker-with-a-very-long-name.example.org", "unreachable", 0, 0)
        };
        vec![node("local/here", "up", 2500, 3), away]
    }

    fn with_one_drained() -> Vec<NodeRow> {
        let drain = ClosureRow {
            kind: "drain".into(),
            name: "local/*".into(),
            until: Some("2030-01-31T18:00:00Z".into()),
            reason: "new disks".into(),
            by: "root".into(),
            on: true,
            ..ClosureRow::default()
        };
        let mut nodes = sample();
        let [here, ..] = nodes.as_slice() else { panic!("there is a node") };
        nodes.push(NodeRow {
            name: "local/there".into(),
            state: "drained".into(),
            closures: vec![drain],
            cpu_millis_used: 0,
            memory_bytes_used: 0,
            jobs: 0,
            ..here.clone()
        });
        nodes
    }

    #[test]
    fn daemons_fit_the_terminal() {
        let row = |instance: &str, role: &str| DaemonRow {
            instance: instance.into(),
            role: role.into(),
            host: "head1.example.org".into(),
            pid: 812,
            version: "0.1.0".into(),
            doors: vec!["127.0.0.1:8920".into(), "/run/berth/berth.sock".into()],
            started: "2026-11-21T09:00:00.000Z".into(),
        };
        let rows = [row("head1.example.org-812", "leader"), row("head2.example.org-77", "stand-by")];
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        insta::assert_snapshot!("daemons-80", daemon_table(&rows, now).render(Some(80), false));
        insta::assert_snapshot!("daemons-160", daemon_table(&rows, now).render(Some(160), false));
    }

    #[test]
    fn nodes_fit_the_terminal() {
        insta::assert_snapshot!("nodes-60", table(&with_one_drained()).render(Some(60), false));
        insta::assert_snapshot!("nodes-80", table(&with_one_drained()).render(Some(80), false));
        insta::assert_snapshot!("nodes-120", table(&with_one_drained()).render(Some(120), false));
    }
}
