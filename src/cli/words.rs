//! Times and commands as people read and paste them.

use indicatif::HumanCount;
use jiff::{SignedDuration, Timestamp};

use super::App;

/// `2026-11-23 02:40Z (in 11 h 50 min)`.
pub fn when(time: Timestamp, now: Timestamp) -> String {
    let away = time.duration_since(now);
    let relative = match away.as_mins() {
        0 => "now".to_owned(),
        1.. => format!("in {}", lasting(away)),
        _ => format!("{} ago", lasting(-away)),
    };
    format!("{} ({relative})", time.strftime("%Y-%m-%d %H:%MZ"))
}

/// The two largest units of a duration of at least a minute.
pub fn lasting(time: SignedDuration) -> String {
    let (days, hours, minutes) = (time.as_hours() / 24, time.as_hours() % 24, time.as_mins() % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min")];
    let first = parts.iter().position(|(amount, _)| *amount > 0).unwrap_or(parts.len() - 1);
    let shown = parts[first..].iter().take(2).enumerate().filter(|(index, (amount, _))| *index == 0 || *amount > 0);
    shown.map(|(_, (amount, unit))| format!("{amount} {unit}")).collect::<Vec<_>>().join(" ")
}

/// `1 file`, `36,500 files`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(number))
}

/// The option that makes a printed command mean this archive from anywhere.
pub fn archive_option(app: &App) -> String {
    format!("--archive {}", quoted(&app.context.store.location().to_string()))
}

/// One word for a POSIX shell, whatever is in it.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_and_relative() {
        let now: Timestamp = "2026-11-22T14:50:00Z".parse().unwrap();
        for (time, words) in [
            ("2026-11-23T02:40:00Z", "2026-11-23 02:40Z (in 11 h 50 min)"),
            ("2026-11-22T14:50:30Z", "2026-11-22 14:50Z (now)"),
            ("2026-11-25T14:50:00Z", "2026-11-25 14:50Z (in 3 d)"),
            ("2026-11-25T15:51:00Z", "2026-11-25 15:51Z (in 3 d 1 h)"),
            ("2026-11-22T14:45:00Z", "2026-11-22 14:45Z (5 min ago)"),
        ] {
            assert_eq!(when(time.parse().unwrap(), now), words);
        }
    }

    #[test]
    fn a_shell_reads_back_one_word() {
        for (text, word) in [("a/b=c", "a/b=c"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(text), word);
        }
    }
}
