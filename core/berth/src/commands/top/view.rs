//! How `berth top` looks.

use berth_api::NodeRow;
use berth_model::{UtcMs, format_bytes};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Table, TableState},
};

use super::model::{Mode, Model};
use crate::{
    commands::jobs,
    output::{cpus, escape::one_line, time},
};

const BAR: usize = 10;
/// A screen narrower than this shows only the columns that matter most.
const NARROW: u16 = 76;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &mut Model, now: UtcMs, coloured: bool) {
    let most_nodes = (frame.area().height / 4).max(1);
    let nodes = u16::try_from(model.snapshot.nodes.len()).unwrap_or(u16::MAX).min(most_nodes);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(nodes),
        Constraint::Min(2),
        Constraint::Length(1),
    ]);
    let [head, node_area, table, foot] = parts.areas(frame.area());
    let paint = Paint { coloured };
    frame.render_widget(heading(model, now, paint), head);
    draw_nodes(frame, &model.snapshot.nodes, node_area, paint);
    draw_jobs(frame, model, table, now, paint);
    frame.render_widget(footer(model, paint), foot);
}

/// Colours, where they are welcome.
#[derive(Clone, Copy)]
struct Paint {
    coloured: bool,
}

impl Paint {
    fn fg(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn state(self, state: &str) -> Style {
        match state {
            "running" | "up" => self.fg(Color::Green),
            "starting" | "stopping" | "suspended" | "closed" => self.fg(Color::Yellow),
            "unreachable" => self.fg(Color::Red),
            "held" => self.fg(Color::Magenta),
            _ => Style::new(),
        }
    }
}

fn heading(model: &Model, now: UtcMs, paint: Paint) -> Line<'static> {
    let info = &model.snapshot.info;
    let up = time::ago(&info.started, now);
    let mut spans = vec![Span::styled(
        one_line(&format!("{} (berth {}, up {up})", info.cluster, info.version)).into_owned(),
        Style::new().add_modifier(Modifier::BOLD),
    )];
    for jobs in &info.jobs {
        spans.push(Span::raw("  "));
        spans.push(Span::styled(
            format!("{} {}", jobs.count, one_line(&jobs.state)),
            paint.state(&jobs.state),
        ));
    }
    Line::from(spans)
}

fn draw_nodes(frame: &mut Frame<'_>, nodes: &[NodeRow], area: Rect, paint: Paint) {
    let width = nodes
        .iter()
        .map(|node| node.name.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(8, usize::from(area.width / 4).clamp(8, 32));
    let shown = usize::from(area.height);
    let lines: Vec<Line<'_>> = match nodes.len() > shown {
        true => {
            let hidden = nodes.len() - shown.saturating_sub(1);
            let some = nodes.iter().take(shown.saturating_sub(1)).map(|node| node_line(node, width, paint));
            some.chain([Line::raw(format!("and {hidden} more nodes"))]).collect()
        }
        false => nodes.iter().map(|node| node_line(node, width, paint)).collect(),
    };
    frame.render_widget(Paragraph::new(lines), area);
}

fn node_line(node: &NodeRow, width: usize, paint: Paint) -> Line<'static> {
    let name = one_line(&node.name);
    let name = crate::output::table::cut(&name, width);
    let mut spans = vec![Span::styled(format!("{name:<width$} "), paint.state(&node.state))];
    if node.state != "up" {
        let note = node.note.as_deref().map(|note| format!(": {}", one_line(note))).unwrap_or_default();
        spans.push(Span::styled(format!("{}{note}", one_line(&node.state)), paint.state(&node.state)));
        return Line::from(spans);
    }
    let of_cpus = format!("{}/{}", cpus(node.cpu_millis_used), cpus(node.cpu_millis_total));
    let of_memory =
        format!("{}/{}", format_bytes(node.memory_bytes_used), format_bytes(node.memory_bytes_total));
    spans.push(Span::raw("CPU "));
    spans.push(Span::styled(bar(node.cpu_millis_used, node.cpu_millis_total), paint.fg(Color::Green)));
    spans.push(Span::raw(format!(" {of_cpus:<9} MEM ")));
    spans.push(Span::styled(bar(node.memory_bytes_used, node.memory_bytes_total), paint.fg(Color::Cyan)));
    spans.push(Span::raw(format!(" {of_memory:<12}")));
    if node.gpus_total > 0 {
        spans.push(Span::raw(format!(" GPU {}/{}", node.gpus_used, node.gpus_total)));
    }
    spans.push(Span::raw(format!(" {} jobs", node.jobs)));
    Line::from(spans)
}

fn bar(used: u64, total: u64) -> String {
    let full = u128::from(used.min(total)) * BAR as u128;
    let full = usize::try_from(full.div_ceil(u128::from(total.max(1)))).unwrap_or(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR.saturating_sub(full)))
}

/// A column of the table of jobs.
struct Column {
    title: &'static str,
    /// Which of [`jobs::cells`].
    cell: usize,
    width: Constraint,
    matters: bool,
}

const fn column(title: &'static str, cell: usize, width: Constraint, matters: bool) -> Column {
    Column { title, cell, width, matters }
}

const COLUMNS: [Column; 9] = [
    column("ID", 0, Constraint::Length(9), true),
    column("NAME", 1, Constraint::Fill(2), true),
    column("USER", 2, Constraint::Length(8), false),
    column("STATE", 4, Constraint::Length(9), true),
    column("CPU", 5, Constraint::Length(4), false),
    column("MEM", 6, Constraint::Length(5), false),
    column("AGE", 8, Constraint::Length(4), false),
    column("RUN", 9, Constraint::Length(4), true),
    column("WHERE OR WHY", 10, Constraint::Fill(3), true),
];

fn draw_jobs(frame: &mut Frame<'_>, model: &mut Model, area: Rect, now: UtcMs, paint: Paint) {
    model.page = usize::from(area.height.saturating_sub(1)).max(1);
    let narrow = area.width < NARROW;
    let columns: Vec<_> = COLUMNS.iter().filter(|column| !narrow || column.matters).collect();
    let header = Row::new(columns.iter().map(|column| {
        let sorted =
            if column.title == model.sort.title() { Modifier::UNDERLINED } else { Modifier::empty() };
        Cell::new(Span::styled(column.title, Style::new().add_modifier(Modifier::BOLD | sorted)))
    }));
    // Only what is on the screen is made into rows.
    let first = model.marked.saturating_sub(model.marked % model.page);
    let jobs = model.jobs();
    let rows = jobs.iter().skip(first).take(model.page).map(|job| {
        let cells = jobs::cells(job, now);
        Row::new(columns.iter().map(|column| {
            let text = cells.get(column.cell).map(|text| one_line(text).into_owned()).unwrap_or_default();
            let style = if column.title == "STATE" { paint.state(&text) } else { Style::new() };
            Cell::new(Span::styled(text, style))
        }))
    });
    let widths = columns.iter().map(|column| column.width);
    let table = Table::new(rows, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let marked = (!jobs.is_empty()).then(|| model.marked - first);
    let mut state = TableState::default().with_selected(marked);
    frame.render_stateful_widget(table, area, &mut state);
}

fn footer(model: &Model, paint: Paint) -> Line<'static> {
    let text = match (&model.mode, &model.trouble, &model.message) {
        (Mode::Confirm(job), ..) => format!("kill job {job}? y for yes, any other key for no"),
        (Mode::Filter, ..) => format!("filter: {}_   Enter keeps it, Esc drops it", model.filter),
        (Mode::Table, Some(trouble), _) => {
            return Line::styled(one_line(trouble).into_owned(), paint.fg(Color::Red));
        }
        (Mode::Table, None, Some(message)) => message.clone(),
        (Mode::Table, None, None) if !model.filter.is_empty() => {
            format!("filter: {}   / changes it, q leaves", model.filter)
        }
        (Mode::Table, None, None) => "q leave   arrows move   s sort   / filter   k kill".to_owned(),
    };
    Line::raw(one_line(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::model::tests::sample, *};

    const NOW: UtcMs = UtcMs(1_763_715_600_000);

    fn screen(model: &mut Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model, NOW, true)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn it_looks_like_this() {
        let mut model = Model::new(sample());
        insta::assert_snapshot!("top-80", screen(&mut model, 80, 10));
        insta::assert_snapshot!("top-120", screen(&mut model, 120, 10));
        model.mode = Mode::Confirm("2".into());
        insta::assert_snapshot!("top-60-confirm", screen(&mut model, 60, 8));
    }

    #[test]
    fn no_screen_is_too_small() {
        for (width, height) in [(1, 1), (5, 2), (10, 3), (300, 100)] {
            let mut model = Model::new(sample());
            assert!(!screen(&mut model, width, height).is_empty());
        }
    }

    #[test]
    fn bars_are_full_when_everything_is_used() {
        assert_eq!(bar(0, 4), "░".repeat(BAR));
        assert_eq!(bar(9, 4), "█".repeat(BAR));
        assert_eq!(bar(0, 0), "░".repeat(BAR));
        assert!(bar(1, 1000).starts_with("█░"), "a little is not nothing");
    }
}
