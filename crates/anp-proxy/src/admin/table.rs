//! Answers as people read them.

use serde_json::Value;

/// Columns as wide as what is in them.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(|head| head.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heads = heads.map(str::to_owned);
    let lines = std::iter::once(&heads).chain(rows).map(|row| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Names and values below one another.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What is at `pointer` (RFC 6901) as text; `-` where nothing is.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    let text = match value.pointer(pointer) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => {
            let all: Vec<_> = list.iter().map(|item| text(item, "")).collect();
            match all.is_empty() {
                true => "-".to_owned(),
                false => all.join(","),
            }
        }
        Some(other) => other.to_string(),
    };
    text.chars().map(plain).collect()
}

/// The number at `pointer`; 0 where none is.
pub(super) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// What a terminal might act on, replaced.
pub(super) fn plain(c: char) -> char {
    if anp_receiver::is_plain(c) { c } else { '?' }
}

/// The sum of the numbers in the object at `pointer`.
pub(super) fn sum(value: &Value, pointer: &str) -> u64 {
    let counts = value.pointer(pointer).and_then(Value::as_object);
    let counts = counts.into_iter().flat_map(|counts| counts.values());
    counts.filter_map(Value::as_u64).sum()
}

/// Bytes in the largest unit that leaves a whole number before the point.
pub(super) fn bytes(count: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if count >> shift > 0 {
            // Tenths, rounded down: no more of it is told than there is.
            let tenths = (u128::from(count) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} B")
}

/// Seconds in the two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_and_cells() {
        let rows = [
            ["a".to_owned(), "1".to_owned()],
            ["longer".to_owned(), String::new()],
        ];
        assert_eq!(table(["NAME", "N"], &rows), "NAME    N\na       1\nlonger");
        let value = json!({"a": [1, "x"], "b": null, "c": "\u{1b}[2J", "d": {"1xx": 1, "2xx": 2}});
        let cells = ["/a", "/b", "/c", "/e"].map(|at| text(&value, at));
        assert_eq!(cells, ["1,x", "-", "?[2J", "-"]);
        assert_eq!(sum(&value, "/d"), 3);
    }

    #[test]
    fn units() {
        let shown = [0, 1023, 1024, 1_500_000, 1 << 30, u64::MAX].map(bytes);
        assert_eq!(
            shown,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.4 MiB",
                "1.0 GiB",
                "17179869183.9 GiB"
            ]
        );
        let shown = [0, 59, 61, 3_600, 90_061].map(span);
        assert_eq!(shown, ["0s", "59s", "1m01s", "1h00m", "1d01h"]);
    }
}
