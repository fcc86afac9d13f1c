//! Closures as text.

use berth_api::ClosureRow;

use crate::output::{
    escape::one_line,
    table::{Column, Table},
};

/// One in a line: `drain by root until 2030-01-31T18:00:00Z: new disks`.
pub fn words(row: &ClosureRow) -> String {
    let mut text = match row.kind.as_str() {
        "drain" => format!("drain of {} by {}", row.name, row.by),
        "reservation" => format!("reservation {} by {}", row.name, row.by),
        kind => format!("{kind} by {}", row.by),
    };
    text.extend(row.from.iter().map(|from| format!(" from {from}")));
    text.extend(row.until.iter().map(|until| format!(" until {until}")));
    let whom = whom(row);
    if !whom.is_empty() {
        text = format!("{text} for {whom}");
    }
    if !row.reason.is_empty() {
        text = format!("{text}: {}", row.reason);
    }
    one_line(&text).into_owned()
}

fn whom(row: &ClosureRow) -> String {
    let users = row.users.iter().map(|name| format!("user {name}"));
    let projects = row.projects.iter().map(|name| format!("project {name}"));
    users.chain(projects).collect::<Vec<_>>().join(", ")
}

/// All of them.
pub fn table(rows: &[ClosureRow]) -> Table {
    let mut table = Table::new(&[
        Column::fixed("KIND"),
        Column::text("NAME", 10),
        Column::text("NODES", 12),
        Column::text("FROM", 10).leaving(3),
        Column::text("UNTIL", 10).leaving(2),
        Column::text("FOR", 10),
        Column::text("BY", 6).leaving(4),
        Column::text("REASON", 12).leaving(1),
    ]);
    for row in rows {
        let whom = whom(row);
        table.row([
            row.kind.clone(),
            row.name.clone(),
            row.nodes.join(", "),
            row.from.clone().unwrap_or_else(|| "always".into()),
            row.until.clone().unwrap_or_else(|| "for ever".into()),
            if whom.is_empty() { "nobody".into() } else { whom },
            row.by.clone(),
            row.reason.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<ClosureRow> {
        let course = ClosureRow {
            kind: "reservation".into(),
            name: "course".into(),
            version: 7,
            nodes: vec!["local/*".into(), "swarm/n1".into()],
            from: Some("2030-01-31T08:00:00Z".into()),
            until: Some("2030-01-31T18:00:00Z".into()),
            users: vec!["ann".into()],
            projects: vec!["rna".into()],
            reason: "a course\u{1b}[2J".into(),
            by: "root".into(),
            on: false,
        };
        let drain = ClosureRow {
            kind: "drain".into(),
            name: "local/n1".into(),
            nodes: vec!["local/n1".into()],
            reason: "new disks".into(),
            by: "root".into(),
            on: true,
            ..ClosureRow::default()
        };
        vec![drain, course]
    }

    #[test]
    fn closures_as_text() {
        let lines: Vec<String> = sample().iter().map(words).collect();
        insta::assert_snapshot!(lines.join("\n"));
        insta::assert_snapshot!("closures-table", table(&sample()).render(None, false));
    }
}
