//! The names that types have in SQL.

use arrow::datatypes::DataType;

/// What a person calls a type: `VARCHAR`, `TIMESTAMP`, `BIGINT[]`.
pub fn sql_type(data_type: &DataType) -> String {
    use DataType::*;
    let name = match data_type {
        Null => "NULL",
        Boolean => "BOOLEAN",
        Int8 => "TINYINT",
        Int16 => "SMALLINT",
        Int32 => "INTEGER",
        Int64 => "BIGINT",
        UInt8 => "UTINYINT",
        UInt16 => "USMALLINT",
        UInt32 => "UINTEGER",
        UInt64 => "UBIGINT",
        Float16 | Float32 => "FLOAT",
        Float64 => "DOUBLE",
        Utf8 | LargeUtf8 | Utf8View => "VARCHAR",
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "VARBINARY",
        Date32 | Date64 => "DATE",
        Time32(_) | Time64(_) => "TIME",
        Timestamp(..) => "TIMESTAMP",
        Interval(_) | Duration(_) => "INTERVAL",
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => return format!("DECIMAL({precision},{scale})"),
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) | FixedSizeList(item, _) => {
            return format!("{}[]", sql_type(item.data_type()));
        }
        Dictionary(_, value) => return sql_type(value),
        RunEndEncoded(_, value) => return sql_type(value.data_type()),
        Struct(_) => "STRUCT",
        Map(..) => "MAP",
        Union(..) => "UNION",
    };
    name.to_owned()
}
