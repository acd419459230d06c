//! A script that breaks the contract is refused with the line and the reason.

use scan::{Binding, Scan, Script};

use testkit::events::schema;

async fn refusal(sql: &str) -> String {
    let binding = Binding { inputs: [("events".to_owned(), schema())].into(), ..Binding::default() };
    let bound = match Script::parse("mine.sql", sql) {
        Ok(script) => Scan::new(&script, &binding).await.map(|_| ()),
        Err(error) => Err(error),
    };
    bound.expect_err("refused").to_string()
}

const HEAD: &str = "create table batch.events (event_id text, ts timestamp, video_id bigint);
comment on table batch.events is 'time ts';
";
const TAIL: &str = "\ncomment on view output.o is 'key (event_id), time ts';";

#[tokio::test]
async fn breaches_name_line_and_reason() {
    for (view, line, reason) in [
        (
            "create view output.o as select event_id, ts, sum(cast(video_id as double)) as s from batch.events group by 1, 2",
            3,
            "sum is not for scripts: floating-point sums",
        ),
        (
            "create view output.o as\nselect event_id, ts,\nfirst_value(video_id) as f from batch.events group by 1, 2",
            5,
            "first_value is not for scripts",
        ),
        ("create view output.o as select * from batch.events limit 3", 3, "limit is not for scripts"),
        ("create view output.o as select * from events", 3, "there is no table events here"),
        ("create view output.o as select nope from batch.events", 3, "nope"),
        ("copy batch.events to 'file'", 3, "copy batch.events is not for scripts"),
        (
            "create table state.s as select * from batch.events;\ncreate view output.o as select * from batch.events",
            3,
            "state.s has no keep",
        ),
        (
            "create view delta.s as select * from batch.events;\ncreate view output.o as select * from batch.events",
            3,
            "there is no state.s",
        ),
        ("create table other.s (a int)", 3, "other.s is in no schema"),
    ] {
        let error = refusal(&format!("{HEAD}{view};{TAIL}")).await;
        assert!(error.starts_with(&format!("mine.sql, line {line}: ")), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_input_without_a_declared_column_is_refused() {
    let sql = "create table batch.events (event_id text, ts timestamp, nope int);\ncomment on table batch.events is 'time ts';";
    let error = refusal(sql).await;
    assert_eq!(
        error,
        "mine.sql, line 1: input events has no column nope; it has event_id, ts, request_id, video_id, country, row"
    );
}

#[tokio::test]
async fn an_output_without_key_is_refused() {
    let error = refusal(&format!("{HEAD}create view output.o as select * from batch.events;")).await;
    assert!(error.contains("output.o has no time") || error.contains("output.o has no key"), "{error}");
}

#[tokio::test]
async fn a_reject_that_could_not_be_repeated_is_refused() {
    for (reject, reason) in
        [("case when nope then ''x'' end", "nope"), ("cast(random() as text)", "random is not for scripts")]
    {
        let table = "create table batch.events (event_id text, ts timestamp)";
        let comment = format!("comment on table batch.events is 'time ts, reject {reject}'");
        let error =
            refusal(&format!("{table};\n{comment};\ncreate view output.o as select * from batch.events;{TAIL}")).await;
        assert!(error.starts_with("mine.sql, line 1: reject of batch.events: ") && error.contains(reason), "{error}");
    }
}
