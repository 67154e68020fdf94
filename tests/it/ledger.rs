//! The ledger of exports stays in reach however long it grows, and leaves the root small.

use tier::catalog::{Change, Operation, Outcome, Snapshot, commit};
use tier::model::ExportEntry;
use tier::store::{Layout, Store};

use crate::support::events::ledger_entry;
use crate::support::lab::context;

#[tokio::test]
async fn old_entries_move_to_files_and_are_still_found() {
    let ctx = context(Store::memory());
    let mut snapshot: Option<Snapshot> = None;
    for night in 0..30 {
        let base = snapshot.as_ref().map_or(0, Snapshot::version);
        let layout = Layout::for_run(base, &ctx.random.id());
        let mut change = Change::new(Operation::new("append", base));
        change.exports = (night * 100..(night + 1) * 100).map(ledger_entry).collect();
        match commit(&ctx, snapshot.as_ref(), &layout, change).await.unwrap() {
            Outcome::Committed(next) => snapshot = Some(next),
            Outcome::Conflict(why) => panic!("{why}"),
        }
    }
    let snapshot = snapshot.unwrap();
    let document = &snapshot.root().document;
    assert_eq!(document.ledgers.iter().map(|file| file.entries).collect::<Vec<_>>(), [600; 5]);
    assert_eq!(document.exports.len(), 0);
    for number in [0, 1_234, 2_999] {
        let found = snapshot.find_exports(|known| known.digest == ledger_entry(number).digest).await.unwrap();
        assert_eq!(found, [ExportEntry { version: number / 100 + 1, ..ledger_entry(number) }]);
    }
    assert_eq!(snapshot.find_exports(|known| known.digest == ledger_entry(3_000).digest).await.unwrap(), []);
}
