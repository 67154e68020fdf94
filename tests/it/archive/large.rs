//! Cells that do not fit into memory: the same events as if they did.

use tier::archive::ArchiveRequest;

use crate::support::lab::{Lab, counts, line};

/// Ids `i` of `0..ids`, each with a few hundred bytes; `content` makes two versions of an event.
fn export(ids: std::ops::Range<u32>, content: u32) -> String {
    let row = |id: u32| {
        // Not in the order of time, and spread over two cells of which one is large.
        let second = (u64::from(id) * 7_919) % 86_400;
        let time = format!("2026-08-24T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60);
        let padding = format!("{id:08}").repeat(40);
        let row = line(&format!("id-{id}"), &time, &format!(r#""n":{id},"content":{content},"padding":"{padding}""#));
        if id.is_multiple_of(50) { row.replace("login", "rare") } else { row }
    };
    ids.map(|id| row(id) + "\n").collect()
}

/// So little for each of so many threads that a cell of a few megabytes is large, and rows spill to disk.
fn tight(request: &mut ArchiveRequest) {
    request.memory_bytes = 1;
    request.threads = 16;
}

fn roomy(request: &mut ArchiveRequest) {
    request.memory_bytes = 4 << 30;
    request.threads = 2;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_spills_archives_the_same_events_as_one_in_memory() {
    let mut results = Vec::new();
    for memory in [tight as fn(&mut ArchiveRequest), roomy] {
        let lab = Lab::new();
        // Duplicates far apart meet across spilled parts, and so do the conflicts in the last file.
        lab.write("a.ndjson", export(0..60_000, 1));
        lab.write("b.ndjson", export(0..60_000, 1));
        lab.write("c.ndjson", export(59_990..60_010, 2));
        let report = lab.archive_with(&["*"], memory).await;
        assert_eq!(counts(&report), (120_020, 60_010, 60_000, 10));
        // In time order within each file, which is what makes its row groups prunable.
        let again = export(30_000..30_100, 1);
        lab.write("d.ndjson", again);
        assert_eq!(counts(&lab.archive_with(&["d.ndjson"], memory).await), (100, 0, 100, 0));
        results.push((lab.rows().await, lab.letters_in_short().await));
    }
    let (spilled, in_memory) = (&results[0], &results[1]);
    assert!(spilled.0 == in_memory.0, "{} rows and {} rows differ", spilled.0.len(), in_memory.0.len());
    assert_eq!(spilled.1, in_memory.1);
}
