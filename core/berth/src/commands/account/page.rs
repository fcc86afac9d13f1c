//! Accounts as people read them.

use std::{fmt::Write as _, time::Duration};

use berth_api::{AccountRow, AccountRunning, AccountUse};
use berth_model::{format_bytes, format_disk, format_duration};

use crate::output::{
    escape::one_line,
    table::{Column, Table},
};

/// One line each.
pub fn table(kind: &str, rows: &[AccountRow]) -> Table {
    let title = match kind {
        "project" => "PROJECT",
        "group" => "GROUP",
        "member" => "MEMBER",
        _ => "USER",
    };
    let mut table = Table::new(&[
        Column::text(title, 8),
        Column::number("PRIORITY").leaving(3),
        Column::number("SHARES").leaving(4),
        Column::number("JOBS"),
        Column::number("CPU TIME"),
        Column::number("KEPT").leaving(1),
        Column::number("FADED").leaving(2),
        Column::text("GROUP", 5).leaving(6),
        Column::number("MEMBERS").leaving(5),
        Column::text("BOUNDS", 10).leaving(2),
        Column::text("ABOUT", 8).leaving(7),
    ]);
    for row in rows {
        let settings = &row.settings;
        let barred = if settings.barred { "barred " } else { "" };
        table.row([
            row.name.clone(),
            settings.priority.to_string(),
            settings.shares.to_string(),
            format!("{:.0}", row.used.jobs),
            span(row.used.cpu_ms),
            span(row.kept.cpu_ms),
            span(row.faded.cpu_ms),
            settings.group.clone().unwrap_or_default(),
            if settings.members.is_empty() { String::new() } else { settings.members.len().to_string() },
            format!("{barred}{}", bounds(row)),
            settings.about.clone(),
        ]);
    }
    table
}

/// All of one.
pub fn render(row: &AccountRow) -> String {
    let settings = &row.settings;
    let mut page = String::new();
    let mut line = |title: &str, text: String| {
        if !text.is_empty() {
            let _ = writeln!(page, "{title:<11} {}", one_line(&text));
        }
    };
    line(&row.kind, row.name.clone());
    line("about", settings.about.clone());
    line("barred", if settings.barred { "takes no new jobs".to_owned() } else { String::new() });
    line("priority", settings.priority.to_string());
    line("shares", settings.shares.to_string());
    line("group", settings.group.clone().unwrap_or_default());
    line("members", settings.members.join(", "));
    line(
        "shared",
        if settings.shared { "members see and control each other's jobs".into() } else { String::new() },
    );
    for (name, volume) in &settings.volumes {
        let mode = if volume.read_only { "ro" } else { "rw" };
        let target = volume.target.as_ref().map_or_else(String::new, |target| format!(", seen at {target}"));
        line("volume", format!("{name}: {} ({mode}){target}", volume.path));
    }
    line("bounds", bounds(row));
    line("within", format_duration(Duration::from_millis(row.period_ms)));
    line("used", amount(&row.used));
    line("kept", if row.kept == AccountUse::default() { String::new() } else { amount(&row.kept) });
    line("runs", if row.running.jobs > 0 { running(&row.running) } else { String::new() });
    let counts_disk = row.disk_bytes > 0 || row.bounds.contains_key("disk");
    line("disk", if counts_disk { format_disk(row.disk_bytes) } else { String::new() });
    line("faded", amount(&row.faded));
    line("waits", if row.waits > 0 { format!("{} jobs", row.waits) } else { String::new() });
    if let Some(guest) = &row.guest {
        line("guest", format!("{}: {} of {}", guest.standing, guest.subject, guest.issuer));
        let size = guest.home_bytes.map_or_else(|| "not measured yet".to_owned(), format_bytes);
        line("home", guest.home.as_ref().map_or_else(String::new, |home| format!("{home}, {size}")));
    }
    line("version", if row.version > 0 { row.version.to_string() } else { String::new() });
    page
}

fn bounds(row: &AccountRow) -> String {
    let bounds: Vec<String> = row.bounds.iter().map(|(key, value)| format!("{key}={value}")).collect();
    bounds.join(" ")
}

fn amount(used: &AccountUse) -> String {
    let gib_hours = used.memory_mib_ms / 1024.0 / 3_600_000.0;
    format!(
        "{:.0} jobs, {} of running, {} of CPUs, {gib_hours:.2} GiB-hours",
        used.jobs,
        span(used.wall_ms),
        span(used.cpu_ms),
    )
}

fn running(now: &AccountRunning) -> String {
    let mut text = format!("{} jobs, {} CPUs", now.jobs, now.cpu_millis as f64 / 1000.0);
    if now.memory_bytes > 0 {
        let _ = write!(text, ", {} of memory", format_bytes(now.memory_bytes));
    }
    if now.gpus > 0 {
        let _ = write!(text, ", {} GPUs", now.gpus);
    }
    text
}

fn span(millis: f64) -> String {
    format_duration(Duration::try_from_secs_f64((millis / 1000.0).floor()).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use berth_api::{AccountSettings, VolumeRow};

    use super::*;

    fn project() -> AccountRow {
        let bounds = [("cpu-time".to_owned(), "100h".to_owned()), ("jobs".to_owned(), "50".to_owned())];
        AccountRow {
            kind: "project".into(),
            name: "rna".into(),
            version: 17,
            settings: AccountSettings {
                about: "sequencing\u{1b}[2J".into(),
                priority: 80,
                shares: 3,
                barred: true,
                group: Some("bio".into()),
                members: vec!["ann".into(), "bob".into()],
                shared: true,
                limits: bounds.clone().into(),
                volumes: [(
                    "data".to_owned(),
                    VolumeRow { path: "/data/rna".into(), target: None, read_only: true },
                )]
                .into(),
            },
            bounds: bounds.into(),
            period_ms: 30 * 86_400_000,
            used: AccountUse { jobs: 12.0, wall_ms: 3.6e6, cpu_ms: 7.2e6, memory_mib_ms: 3.6e6 * 2048.0 },
            kept: AccountUse { jobs: 1.0, wall_ms: 6e4, cpu_ms: 6e4, memory_mib_ms: 0.0 },
            running: AccountRunning { jobs: 1, cpu_millis: 2500, memory_bytes: 1 << 30, gpus: 1 },
            disk_bytes: 12_300_000_000,
            faded: AccountUse { jobs: 6.1, wall_ms: 1.8e6, cpu_ms: 3.6e6, memory_mib_ms: 0.0 },
            waits: 0,
            guest: None,
        }
    }

    #[test]
    fn a_project_as_text() {
        insta::assert_snapshot!(render(&project()));
    }

    #[test]
    fn projects_as_a_table() {
        insta::assert_snapshot!(
            table("project", &[project(), AccountRow { name: "dna".into(), ..Default::default() }])
                .render(None, false)
        );
    }
}
