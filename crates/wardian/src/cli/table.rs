//! Tables without borders: a line of headings, columns two spaces apart, no spaces at the end of a line.

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// A table of these headings and rows. Cells that have a colour keep it; see [`super::output::Style`].
pub(crate) fn table<const N: usize, C: Into<Cell>>(
    headings: [&str; N],
    rows: impl IntoIterator<Item = [C; N]>,
) -> String {
    columns(headings.to_vec(), rows.into_iter().map(|row| row.map(Into::into).to_vec()))
}

/// The same, of as many columns as there are headings.
pub(crate) fn columns(headings: Vec<&str>, rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut table = Table::new();
    // Rows are never wrapped: one thing is one line, for eyes as for scripts.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).enforce_styling();
    table.set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// A length of time in one or two units: `3.8s`, `2m 5s`, `4h 10m`, `12d`.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{}.{}s", seconds, milliseconds % 1000 / 100),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A length of time in its largest unit, for ages: `8s`, `5m`, `3h`, `12d`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// An amount of bytes to three digits, which [`wardian_model::size::ByteSize`] doesn't round to: `4.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Precise enough: three digits are shown.
    #[allow(clippy::cast_precision_loss)]
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(amount < 99.95);
    format!("{amount:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Style;

    #[test]
    fn a_table_has_no_borders_and_no_trailing_spaces() {
        let rows = [["store", "running"], ["a-long-name", ""]];
        assert_eq!(table(["NAME", "PHASE"], rows), "NAME         PHASE\nstore        running\na-long-name\n");
    }

    #[test]
    fn colours_do_not_widen_columns() {
        let style = Style { colour: true };
        let rows = [[style.phase("ready"), "x".into()], [style.phase("stopped"), "y".into()]];
        let text = table(["PHASE", "WHY"], rows);
        assert_eq!(text, "PHASE    WHY\n\u{1b}[38;5;2mready    \u{1b}[39mx\nstopped  y\n");
    }

    #[test]
    fn times_and_sizes_are_short() {
        assert_eq!(
            [0, 3_849, 59_999, 125_000, 15_000_000, 172_800_000].map(duration),
            ["0.0s", "3.8s", "59.9s", "2m 5s", "4h 10m", "2d"]
        );
        assert_eq!([8, 300, 7200, 172_800].map(age), ["8s", "5m", "2h", "2d"]);
        assert_eq!(
            [512, 4 << 20, 520_093_696, 1 << 30, 1023 << 20].map(size),
            ["512 B", "4.0 MiB", "496 MiB", "1.0 GiB", "1.0 GiB"]
        );
    }
}
