-- ingest: every event once.
--
-- A row repeats an event when a row with the same id and an earlier time is there, by at most `dedup`. The earliest row
-- stays, whichever comes first: a repeat that was let through before is retracted.

create schema batch;
create schema state;
create schema delta;
create schema output;

create view param as select interval '1 hour' as dedup;

create table batch.events
  (event_id text, ts timestamp, _topic text, _partition int, _offset bigint, _arrived_at timestamp);

comment on table batch.events is 'time ts, before dedup,
  reject case when event_id is null then ''missing_id: the id is null'' end';

create table state.events (event_id text, ts timestamp, retracted boolean);

comment on table state.events is 'key (event_id, ts), time ts, keep dedup';

-- Whether a row has an earlier one is all that matters, and not how many: so nothing here pairs rows.
create view repeat as
select e.event_id, e.ts
from batch.events e
where exists (
  select 1
  from state.events s
  where s.event_id = e.event_id and s.ts < e.ts and s.ts >= e.ts - (select dedup from param))
union all
select s.event_id, s.ts
from state.events s
where not s.retracted
  and exists (
    select 1
    from batch.events b
    where b.event_id = s.event_id and s.ts > b.ts and s.ts <= b.ts + (select dedup from param))
union all
select event_id, unnest(repeats(ts, (select dedup from param)))
from batch.events
where event_id is not null
group by event_id;

create view delta.events as
select event_id, ts, false as retracted from batch.events
union all
select event_id, ts, true as retracted from repeat;

create view output.events as
select *, false as retracted from batch.events
union all by name
select event_id, ts, true as retracted from repeat;

comment on view output.events is 'key (event_id, ts), time ts, hold events';
