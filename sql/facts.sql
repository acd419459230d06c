-- facts: labels with the facts as they stood: what was known of each label's subject when it came.
--
-- The candidates of a label are the facts of the same `subject` (the columns of --on) that are older than it by at least
-- `apart` and at most `within`. The latest stands; of those at one time the one with the greater event id. With
-- `by_request` the facts of the label's own request go before all others. A label is put out when it comes, and again
-- when a candidate comes after it: one more candidate can only make the answer greater.

create schema batch;
create schema state;
create schema output;

create view param as select interval '30 days' as within, interval '0' as apart, false as by_request;

create table batch.labels (event_id text, ts timestamp, subject bigint, request text);
create table batch.facts (event_id text, ts timestamp, subject bigint, request text);

comment on table batch.labels is 'time ts,
  reject case when event_id is null then ''missing_id: the id is null'' end';
comment on table batch.facts is 'time ts, before within,
  reject case when event_id is null then ''missing_id: the id is null'' end';

create table state.labels as select * from batch.labels;
create table state.facts as select * from batch.facts;

comment on table state.labels is 'key (event_id, ts), time ts, keep interval ''0''';
comment on table state.facts is 'key (event_id, ts), time ts, keep within';

create view touched as
select *
from batch.labels
union all
select *
from state.labels l
where exists (
  select 1
  from batch.facts f
  where l.subject = f.subject
    and l.ts between f.ts + (select apart from param) and f.ts + (select within from param));

create view candidate as
select l.subject, l as label, row(f) as fact, f.ts as _ts, f.event_id as _id,
       (select by_request from param) and l.request = f.request as _own
from touched l
left join batch.facts f
  on l.subject = f.subject and l.ts between f.ts + (select apart from param) and f.ts + (select within from param)
union all
select l.subject, l as label, row(f) as fact, f.ts as _ts, f.event_id as _id,
       (select by_request from param) and l.request = f.request as _own
from touched l
join state.facts f
  on l.subject = f.subject and l.ts between f.ts + (select apart from param) and f.ts + (select within from param);

create view considered as
select subject, label, touches(_ts, _id, fact, _own, 'last') as facts
from candidate
group by subject, label;

create view answered as
select subject, label, latest(facts) as fact,
       case when has_own(facts) then 'request' when sources(facts)['candidates'] > 0 then 'latest' end as fact_by
from considered;

create view output.labels as
select subject, label.*, fact, fact_by
from answered;

-- The words of fact_by are such that the greater one goes before.
comment on view output.labels is 'key (event_id, ts), time ts, greatest (fact_by, fact_ts, fact_event_id),
  standing case when fact_event_id is null then 0 else 1 end';
