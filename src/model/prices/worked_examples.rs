//! The built-in prices, against sums done by hand: what a year's bill is made of must not drift unseen.

use jiff::SignedDuration;

use super::{Prices, Usd};
use crate::model::{Retrieval, StorageClass, pays_back_after};

use Retrieval::{Bulk, Expedited, Standard as Normal};
use StorageClass::{DeepArchive, Glacier, GlacierIr, Standard, StandardIa};

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;
const TB: u64 = 1 << 40;

fn prices() -> Prices {
    Prices::built_in()
}

/// Equal to a sum done by hand, but for the rounding that is written out.
#[track_caller]
fn close(amount: Usd, by_hand: f64, rounding: f64) {
    assert!((amount.0 - by_hand).abs() <= rounding, "{amount} ({}) is not {by_hand} ± {rounding}", amount.0);
}

#[track_caller]
fn exactly(amount: Usd, by_hand: f64) {
    close(amount, by_hand, by_hand.abs() * 1e-12);
}

/// Whether moving one object pays within the months it is kept.
fn pays(prices: &Prices, from: StorageClass, to: StorageClass, size_kb: u64, months: u32) -> bool {
    let saving = prices.storage_month(from, size_kb * KB) - prices.storage_month(to, size_kb * KB);
    pays_back_after(prices.transition(to, 1), saving).is_some_and(|after| after <= months)
}

/// The smallest object, in KB, whose move pays within these months.
fn break_even_kb(from: StorageClass, to: StorageClass, months: u32) -> u64 {
    let prices = prices();
    (1..10_000).find(|size| pays(&prices, from, to, *size, months)).expect("some size pays")
}

#[test]
fn the_break_even_size_of_a_move_is_that_of_the_table() {
    // KB below which a move loses money; a move pays from the next whole KB on. For DEEP_ARCHIVE over 6 months:
    // (0.05 / 1000 × 2^20 + 6 × (8 × 0.023 + 32 × 0.00099)) / (6 × (0.023 - 0.00099)) = 53.72 / 0.13206 = 406.8.
    for (months, deep, flexible, deep_from_instant) in
        [(6, 407, 286, 2_975), (12, 208, 151, 1_523), (24, 109, 83, 797), (81, 39, 35, 287)]
    {
        for (from, to, table) in
            [(Standard, DeepArchive, deep), (Standard, Glacier, flexible), (GlacierIr, DeepArchive, deep_from_instant)]
        {
            let found = break_even_kb(from, to, months);
            assert!(found.abs_diff(table) <= 1, "{from} to {to}, {months} months: {found}, by the table {table}");
            assert!(!pays(&prices(), from, to, table - 2, months) && pays(&prices(), from, to, table + 1, months));
        }
    }
}

#[test]
fn the_break_even_of_glacier_ir_has_a_floor() {
    // 0.02 / 1000 × 2^20 / (6 × (0.023 - 0.004)) = 20.97 / 0.114 = 183.96: above the floor, as by the table.
    assert_eq!(break_even_kb(Standard, GlacierIr, 6), 184);
    // Without a floor it would be 92, 46 and 14. Billed as 128 KB, an object must be
    // (20.97 / months + 128 × 0.004) / 0.023 KB: 98.2, 60.2 and 33.5. From 128 KB on every move pays.
    for (months, unbilled, billed) in [(12, 92, 99), (24, 46, 61), (81, 14, 34)] {
        let floorless = 0.02 / 1000.0 * MB as f64 / (f64::from(months) * (0.023 - 0.004));
        assert_eq!(floorless.round() as u64, unbilled);
        assert_eq!(break_even_kb(Standard, GlacierIr, months), billed);
        assert!(pays(&prices(), Standard, GlacierIr, 128, months));
    }
}

#[test]
fn restoring_a_terabyte_costs_what_the_table_says() {
    // Objects; then requests by DEEP_ARCHIVE standard, bulk, GLACIER standard, expedited.
    let table = [
        (128 * KB, 8_388_608, [838.860_8, 209.715_2, 419.430_4, 83_886.08]),
        (8 * MB, 131_072, [13.107_2, 3.276_8, 6.553_6, 1_310.72]),
        (128 * MB, 8_192, [0.819_2, 0.204_8, 0.409_6, 81.92]),
        (512 * MB, 2_048, [0.204_8, 0.051_2, 0.102_4, 20.48]),
    ];
    // By 1,024 GB: 0.02, 0.0025, 0.01 and 0.03.
    let columns = [
        (DeepArchive, Normal, 20.48),
        (DeepArchive, Bulk, 2.56),
        (Glacier, Normal, 10.24),
        (Glacier, Expedited, 30.72),
    ];
    for (size_bytes, objects, requests) in table {
        assert_eq!(TB / size_bytes, objects);
        for ((class, retrieval, data), requests) in columns.into_iter().zip(requests) {
            let quote = prices().restore(class, retrieval, objects, TB, 7, false).unwrap();
            exactly(quote.data, data);
            exactly(quote.requests, requests);
            // 1,024 GB × 0.023 × 7 / 30.
            close(quote.temporary_copy, 5.50, 0.005);
            assert_eq!(quote.egress, Usd(0.0));
            exactly(quote.total(), data + requests + 1024.0 * 0.023 * 7.0 / 30.0);
        }
        let free = prices().restore(Glacier, Bulk, objects, TB, 0, false).unwrap();
        assert_eq!(free.total(), Usd(0.0));
    }
}

#[test]
fn a_restore_that_leaves_the_region_pays_for_that_too() {
    let quote = prices().restore(DeepArchive, Bulk, 2_048, TB, 7, true).unwrap();
    exactly(quote.egress, 92.16); // 1,024 × 0.09
    close(quote.total(), 2.56 + 0.0512 + 5.4955 + 92.16, 0.0001);
}

#[test]
fn a_restore_that_is_not_offered_has_no_quote() {
    assert_eq!(prices().restore(DeepArchive, Expedited, 1, GB, 1, false), None);
    assert_eq!(prices().ready_within(DeepArchive, Expedited), None);
    for class in [Standard, StandardIa, GlacierIr] {
        assert!(Retrieval::ALL.iter().all(|tier| prices().restore(class, *tier, 1, GB, 1, false).is_none()));
    }
}

#[test]
fn restores_are_ready_when_the_store_promises() {
    let (minutes, hours) = (SignedDuration::from_mins, SignedDuration::from_hours);
    for (class, retrieval, soonest, latest) in [
        (Glacier, Expedited, minutes(1), minutes(5)),
        (Glacier, Normal, hours(3), hours(5)),
        (Glacier, Bulk, hours(5), hours(12)),
        (DeepArchive, Normal, hours(0), hours(12)),
        (DeepArchive, Bulk, hours(0), hours(48)),
    ] {
        assert_eq!(prices().ready_within(class, retrieval), Some((soonest, latest)), "{class} {retrieval}");
    }
}

#[test]
fn deep_archive_is_cheaper_than_flexible_below_one_and_a_half_readings_a_year() {
    // (0.0036 - 0.00099) × 12 / 0.02 = 1.566, of which the overheads of a 1 TB object are nothing.
    let dearer = (prices().storage_month(Glacier, TB) - prices().storage_month(DeepArchive, TB)) * 12.0;
    let reading = prices().restore(DeepArchive, Normal, 0, TB, 0, false).unwrap().total();
    assert!((dearer.0 / reading.0 - 1.566).abs() < 0.001, "{dearer} {reading}");
}

#[test]
fn a_million_events_a_second_for_seven_years() {
    // 1,000,000 × 86,400 × 30 bytes = 2,413.99 GB a day; 2,557 days in seven years: 5.9 PB.
    let bytes = 1_000_000 * 86_400 * 30 * 2_557_u64;
    assert!((bytes as f64 / (1_u64 << 50) as f64 - 5.9).abs() < 0.05);
    for (class, a_month, rounding) in [
        (Standard, 142_000.0, 500.0),
        (GlacierIr, 24_700.0, 50.0),
        (Glacier, 22_200.0, 50.0),
        (DeepArchive, 6_100.0, 50.0),
    ] {
        close(prices().storage_month(class, bytes), a_month, rounding);
    }
    // 1,000 tenants × 50 event types: 127,850,000 objects of 49 KB to 51 MB, whatever the rate.
    let objects = 50_000 * 2_557;
    let transitions = prices().transition(DeepArchive, objects);
    exactly(transitions, 6_392.50); // 127,850 × 0.05
    assert_eq!(transitions.round_up(), "6393");
    // 127,850,000 × (8 KB × 0.023 + 32 KB × 0.00099) = 127,850,000 × 0.21568 / 2^20: about $26 a month.
    close(prices().storage_month(DeepArchive, 0) * objects as f64, 26.30, 0.005);
}

#[test]
fn listing_is_eighty_times_cheaper_than_asking_one_by_one() {
    exactly(prices().list(128_000), 0.64);
    exactly(prices().list(1), 0.000_005);
    exactly(prices().get(DeepArchive, 1_000), 0.000_4);
    exactly(Usd(prices().get(DeepArchive, 1_000).0 / prices().list(1).0), 80.0);
}

#[test]
fn small_objects_pay_their_minimum_size_and_their_overheads() {
    exactly(prices().storage_month(Standard, GB), 0.023);
    exactly(prices().storage_month(GlacierIr, 1), 0.004 / 8_192.0); // 128 KB = 2^30 / 8,192
    exactly(prices().storage_month(StandardIa, 128 * KB), 0.0125 / 8_192.0);
    exactly(prices().storage_month(GlacierIr, 256 * KB), 0.004 / 4_096.0);
    exactly(prices().storage_month(Glacier, GB), 0.0036 * (1.0 + 32.0 / 1_048_576.0) + 0.023 * 8.0 / 1_048_576.0);
}

#[test]
fn deleting_early_pays_the_rest_of_the_minimum() {
    // A GB and its 32 KB for the 120 of 180 days that are left.
    exactly(prices().early_delete(DeepArchive, GB, 60), 0.00099 * (1.0 + 32.0 / 1_048_576.0) * 4.0);
    // Billed as 128 KB for 60 of 90 days.
    exactly(prices().early_delete(GlacierIr, 10 * KB, 30), 0.004 / 8_192.0 * 2.0);
    for (class, days) in [(Standard, 0), (StandardIa, 30), (GlacierIr, 90), (Glacier, 91), (DeepArchive, 180)] {
        assert_eq!(prices().early_delete(class, GB, days), Usd(0.0), "{class}");
    }
}

#[test]
fn requests_are_priced_by_the_thousand() {
    // Writing, reading and moving 1,000 objects, then reading a GB.
    for (class, put, get, transition, retrieval) in [
        (Standard, 0.005, 0.0004, 0.0, 0.0),
        (StandardIa, 0.01, 0.001, 0.01, 0.01),
        (GlacierIr, 0.02, 0.01, 0.02, 0.03),
        (Glacier, 0.03, 0.0004, 0.03, 0.0),
        (DeepArchive, 0.05, 0.0004, 0.05, 0.0),
    ] {
        exactly(prices().put(class, 1_000), put);
        exactly(prices().get(class, 2_000), 2.0 * get);
        exactly(prices().transition(class, 3_000), 3.0 * transition);
        exactly(prices().instant_retrieval(class, GB), retrieval);
    }
    exactly(prices().egress(10 * GB), 0.9);
}
