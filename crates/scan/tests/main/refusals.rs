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

/// `param` and what is said of it alone are one row of constants.
#[tokio::test]
async fn a_view_of_constants_is_nothing_else() {
    let over_param = |view: &str| format!("create view param as select 2 as n, 'x' as t;\ncreate view c as {view}");
    for (views, line, reason) in [
        (over_param("select ts as a from param"), 4, "param has no ts; it has n, t"),
        (over_param("select case when video_id = n then 1 end as a from param"), 4, "param has no video_id"),
        (over_param("select count(*) as a from param"), 4, "a of c is no constant"),
        (over_param("select max(n) as a from param"), 4, "a of c is no constant"),
        (over_param("select n + t as a, (select 1) as b from param"), 4, "of c is no constant"),
        (over_param("select distinct n as a from param"), 4, "a view over param alone is one row of constants"),
        (over_param("select n as a from param group by n"), 4, "one row of constants"),
        (over_param("select n as a from param order by n"), 4, "one row of constants"),
        (over_param("select n as a from param limit 0"), 4, "one row of constants"),
        (over_param("select n as a from param where false"), 4, "one row of constants"),
        (over_param("select n + 1 from param"), 4, "n + 1 has no name"),
        (over_param("select * from param"), 4, "* has no name"),
        (over_param("select n as a, t as a from param"), 4, "a is there twice"),
        (over_param("select n as a from param;\ncreate view d as select b as x from c"), 5, "c has no b; it has a"),
        (
            over_param("select n as a from param;\ncreate view d as select c.a, e.ts from c, batch.events e"),
            5,
            "write (select NAME from c)",
        ),
        ("create view param as select ts as n".to_owned(), 3, "n of param is no constant"),
        ("create view param as select 2 as n limit 0".to_owned(), 3, "param is one row"),
        ("create view param as select 2 as n from batch.events".to_owned(), 3, "param is one row"),
    ] {
        let error =
            refusal(&format!("{HEAD}{views};\ncreate view output.o as select * from batch.events;{TAIL}")).await;
        assert!(error.starts_with(&format!("mine.sql, line {line}: ")) && error.contains(reason), "{views}: {error}");
    }
}

/// Constants may be made of others, and stand where a value may.
#[tokio::test]
async fn a_view_of_constants_is_made_of_values() {
    let sql = format!(
        "{HEAD}create view param as select 1 + 1 as n;
create view c as select n, n * 2 as twice, param.n = 2 as two from param;
create view d as select twice + 1 as five from c;
create view output.o as select * from batch.events where (select two from c) and video_id > (select five from d);{TAIL}"
    );
    let binding = Binding { inputs: [("events".to_owned(), schema())].into(), ..Binding::default() };
    let scan = Scan::new(&Script::parse("mine.sql", &sql).unwrap(), &binding).await.unwrap();
    assert!(scan.explain().contains("FilterExec: video_id@3 > 5"), "{}", scan.explain());
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
