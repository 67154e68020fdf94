//! CQL types and what the archive gets of them.

use tier::hot::Unit;
use tier::model::ColumnType;

use super::{open, partitions, read_all, settings};
use crate::support::cassandra::Keyspace;

const COLUMNS: &str = "tenant_id text, day date, event_id timeuuid, event_type ascii, ts timestamp, a_tiny tinyint, \
    a_small smallint, an_int int, a_big bigint, a_float float, a_double double, a_flag boolean, a_uuid uuid, \
    an_inet inet, a_date date, a_time time, a_duration duration, a_decimal decimal, a_varint varint, a_blob blob, \
    a_list list<int>, a_set set<text>, a_map map<text, double>, a_tuple tuple<int, text>, a_vector vector<float, 3>, \
    a_place frozen<place>, a_static text static";

async fn table() -> Keyspace {
    let keyspace = Keyspace::fresh().await;
    let name = keyspace.name.clone();
    keyspace.execute(&format!("CREATE TYPE {name}.place (city text, lat double, \"No\" int)")).await;
    let columns = COLUMNS.replace("frozen<place>", &format!("frozen<{name}.place>"));
    keyspace.execute(&format!("CREATE TABLE {name}.t ({columns}, PRIMARY KEY ((tenant_id, day), event_id))")).await;
    keyspace
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_exactly() {
    let keyspace = table().await;
    let name = &keyspace.name;
    keyspace
        .execute(&format!(
            "INSERT INTO {name}.t (tenant_id, day, event_id, event_type, ts, a_tiny, a_small, an_int, a_big, a_float, \
             a_double, a_flag, a_uuid, an_inet, a_date, a_time, a_duration, a_decimal, a_varint, a_blob, a_list, \
             a_set, a_map, a_tuple, a_vector, a_place, a_static) VALUES ('acme', '2026-08-24', \
             50554d6e-29bb-11e5-b345-feff819cdc9f, 'login', '2026-08-24T08:12:54.123Z', -128, -32768, -2147483648, \
             -9223372036854775808, 0.5, 1e300, true, 123e4567-e89b-12d3-a456-426614174000, '2001:db8::1', \
             '1969-12-31', '08:12:54.000000001', 1y2mo3d4h5m6s, 123456789012345678901234567890.10, \
             -170141183460469231731687303715884105729, 0x00ff10, [3, 1, 2], {{'b', 'a'}}, {{'x': 0.25}}, (7, null), \
             [1, 2.5, -3], {{city: 'Köln \"am\" Rhein', lat: 50.9}}, 'shared')"
        ))
        .await;
    let hot = open(&settings(&keyspace, "t")).await;
    let row = read_all(&hot, partitions(&hot).await).await;
    let shown: Vec<String> = row.table().lines().map(str::to_owned).collect();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let pairs: Vec<(String, String)> = cells(&shown[0]).into_iter().zip(cells(&shown[1])).collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("tenant_id", "acme"),
            ("event_id", "50554d6e-29bb-11e5-b345-feff819cdc9f"),
            ("a_static", "shared"),
            ("a_big", "-9223372036854775808"),
            ("a_blob", "00ff10"),
            ("a_date", "1969-12-31"),
            ("a_decimal", "123456789012345678901234567890.10"),
            ("a_double", "1e300"),
            ("a_duration", "1y2mo3d4h5m6s"),
            ("a_flag", "true"),
            ("a_float", "0.5"),
            ("a_list", "[3,1,2]"),
            ("a_map", r#"{"x":0.25}"#),
            ("a_place", r#"{"city":"Köln \"am\" Rhein","lat":50.9,"No":null}"#),
            ("a_set", r#"["a","b"]"#),
            ("a_small", "-32768"),
            ("a_time", "08:12:54.000000001"),
            ("a_tiny", "-128"),
            ("a_tuple", "[7,null]"),
            ("a_uuid", "123e4567-e89b-12d3-a456-426614174000"),
            ("a_varint", "-170141183460469231731687303715884105729"),
            ("a_vector", "[1.0,2.5,-3.0]"),
            ("an_inet", "2001:db8::1"),
            ("an_int", "-2147483648"),
            ("event_type", "login"),
            ("ts", "2026-08-24T08:12:54.123Z"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_inserted_again_as_it_was() {
    let keyspace = table().await;
    let name = &keyspace.name;
    keyspace
        .execute(&format!(
            "INSERT INTO {name}.t JSON '{{\"tenant_id\": \"acme\", \"day\": \"2026-08-24\", \"event_id\": \
             \"50554d6e-29bb-11e5-b345-feff819cdc9f\", \"event_type\": \"login\", \"ts\": \"2026-08-24T08:12:54.123Z\", \
             \"a_decimal\": 1.50, \"a_varint\": -5, \"a_blob\": \"0x00ff\", \"a_duration\": \"1mo2d\", \"a_float\": 0.1, \
             \"a_time\": \"08:12:54\", \"an_inet\": \"127.0.0.1\", \"a_list\": [1, 2], \"a_set\": [\"a\"], \"a_map\": \
             {{\"x\": 1.5}}, \"a_tuple\": [7, \"b\"], \"a_place\": {{\"city\": \"Bonn\", \"lat\": 50.7}}, \"a_uuid\": \
             \"123e4567-e89b-12d3-a456-426614174000\", \"a_date\": \"2026-01-01\", \"a_vector\": [1, 2, 3]}}'"
        ))
        .await;
    let hot = open(&settings(&keyspace, "t")).await;
    let units = partitions(&hot).await;
    let before = read_all(&hot, units.clone()).await;
    let [Unit::Partition(partition)] = units.as_slice() else { panic!("{units:?}") };
    hot.delete(partition).await.unwrap();
    assert_eq!(read_all(&hot, units.clone()).await.done, [(0, 0, Some(0))]);
    hot.insert(&before.batches[0], Some(3_600)).await.unwrap();
    let after = read_all(&hot, units).await;
    assert_eq!(after.table(), before.table());
    assert_eq!((before.expiring, after.expiring), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_stay_null_and_the_day_is_not_archived() {
    let keyspace = Keyspace::fresh().await;
    keyspace.create_events("t", "((tenant_id, day), event_id)", 0).await;
    let name = &keyspace.name;
    keyspace
        .execute(&format!("INSERT INTO {name}.t (tenant_id, day, event_id) VALUES ('acme', '2026-08-24', '1')"))
        .await;
    let hot = open(&settings(&keyspace, "t")).await;
    let columns: Vec<(&str, ColumnType)> = hot.columns().iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    assert_eq!(
        columns,
        [
            ("tenant_id", ColumnType::Varchar),
            ("event_id", ColumnType::Varchar),
            ("amount", ColumnType::Double),
            ("event_type", ColumnType::Varchar),
            ("payload", ColumnType::Varchar),
            ("ts", ColumnType::Timestamp),
        ]
    );
    let answer = read_all(&hot, partitions(&hot).await).await;
    let nulls: Vec<usize> = answer.batches[0].columns().iter().map(|column| column.null_count()).collect();
    assert_eq!(nulls, [0, 0, 1, 1, 1, 1]);
}
