-- attribute: which impressions each play is credited to.
--
-- The candidates of a play are the impressions of the same `subject` (the columns of --by) at its time or before it, by
-- at most `lookback`. A play is put out when it comes, and again, with all its credits, when an impression comes that
-- is one more candidate: of what was put out for a play, the rows made of the most candidates stand, together.

create schema batch;
create schema state;
create schema output;

create view param as select interval '24 hours' as lookback, 'last' as model, interval '1 hour' as half_life;

create table batch.impressions
  (event_id text, ts timestamp, subject bigint, request_id text, video_id bigint, row text);
create table batch.plays (event_id text, ts timestamp, subject bigint, request_id text, video_id bigint);

comment on table batch.impressions is 'time ts, before lookback,
  reject case when event_id is null then ''missing_id: the id is null'' end';
comment on table batch.plays is 'time ts,
  reject case when event_id is null then ''missing_id: the id is null'' end';

create table state.impressions as
select event_id, ts, subject, request_id, video_id, row from batch.impressions;
create table state.plays as
select event_id, ts, subject, request_id, video_id from batch.plays;

comment on table state.impressions is 'key (event_id, ts), time ts, keep lookback';
comment on table state.plays is 'key (event_id, ts), time ts, keep interval ''0''';

create view touched as
select event_id, ts, subject, request_id, video_id
from batch.plays
union all
select distinct p.event_id, p.ts, p.subject, p.request_id, p.video_id
from state.plays p
join batch.impressions i
  on p.subject = i.subject and p.ts between i.ts and i.ts + (select lookback from param);

create view candidate as
select p.event_id as play_event_id, p.ts as play_ts, i.ts as impression_ts, i.event_id as impression_event_id,
       i.row as shown_in, p.request_id = i.request_id and p.video_id = i.video_id as own
from touched p
left join batch.impressions i
  on p.subject = i.subject and p.ts between i.ts and i.ts + (select lookback from param)
union all
select p.event_id, p.ts, i.ts, i.event_id, i.row, p.request_id = i.request_id and p.video_id = i.video_id
from touched p
join state.impressions i
  on p.subject = i.subject and p.ts between i.ts and i.ts + (select lookback from param);

create view considered as
select play_event_id, play_ts,
       touches(impression_ts, impression_event_id, shown_in, own, (select model from param)) as touches
from candidate
group by play_event_id, play_ts;

create view credited as
select play_event_id, play_ts, sources(touches) as source,
       unnest(credits(touches, (select model from param), (select half_life from param))) as credit
from considered;

create view output.attributed as
select play_event_id, credit['model'] as model, credit['impression_event_id'] as impression_event_id,
       credit['credit'] as credit, play_ts, credit['impression_ts'] as impression_ts,
       source['play'] as source_of_play, source['discovery'] as source_of_discovery, source['candidates'] as _version
from credited;

comment on view output.attributed is 'key (play_event_id, play_ts, model, impression_ts, impression_event_id),
  time play_ts, group (play_event_id, play_ts), greatest (_version),
  standing case when impression_ts is null then 0 else 1 end';
