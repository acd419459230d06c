-- tuples: what was shown, with what probability, and what came of it: one row an impression, to train on.
--
-- The reward of an impression is 1 where the model `last` credits a play to it, else 0. A play that comes moves that, and
-- so does an impression that becomes the latest before a play: of what was put out for an impression the row stands that
-- was made of the most plays, and of those the one that was made of the most candidates. `subject` and `context` stand for columns, `action`, `slot`, `propensity`
-- and `action_set` for expressions of the command line.

create schema batch;
create schema state;
create schema delta;
create schema output;

create view param as select interval '24 hours' as lookback;

create table batch.impressions (event_id text, ts timestamp, subject bigint, request_id text, context text, action bigint,
                                slot int, propensity double, action_set text);
create table batch.plays (event_id text, ts timestamp, subject bigint);

comment on table batch.impressions is 'time ts, after lookback, reject case
  when event_id is null then ''missing_id: the id is null''
  when not coalesce(propensity > 0 and propensity <= 1, false) then ''propensity: it is not in (0, 1]''
  when action_set is not null and not coalesce(array_has(items(action_set), cast(action as text)), false)
    then ''action: it is not in the action set'' end';
comment on table batch.plays is 'time ts, after lookback,
  reject case when event_id is null then ''missing_id: the id is null'' end';

create view shown as
select event_id as _id, ts as _ts, subject, request_id as _request_id, action as _action, slot as _slot,
       cast(propensity as double) as _propensity, items(action_set) as _action_set, context
from batch.impressions;

create table state.impressions as select * from shown;
create view delta.impressions as select * from shown;
create table state.plays as select event_id, ts, subject from batch.plays;

-- To work a reward out again takes the plays up to `lookback` after it, and to rank it their candidates before those.
comment on table state.impressions is 'key (_id, _ts), time _ts, keep lookback + lookback';
comment on table state.plays is 'key (event_id, ts), time ts, keep lookback';

create view touched as
select event_id, ts, subject
from batch.plays
union all
select distinct p.event_id, p.ts, p.subject
from state.plays p
join shown i on p.subject = i.subject and p.ts between i._ts and i._ts + (select lookback from param);

-- The latest impression before each of these plays, as it was: the one that may have won or lost it.
create view former as
select p.event_id, p.ts, p.subject, touches(i._ts, i._id, '', false, 'last') as touches
from touched p
left join state.impressions i on p.subject = i.subject and p.ts between i._ts and i._ts + (select lookback from param)
group by p.event_id, p.ts, p.subject;

create view latest as
select event_id, ts, subject, unnest(credits(touches, 'last', interval '1 hour')) as credit
from former;

-- Where that comes again in this batch, it was the latest of the others.
create view again as
select l.event_id, l.ts, l.subject
from latest l
join shown s on l.credit['impression_event_id'] = s._id and l.credit['impression_ts'] = s._ts;

create view earlier as
select a.event_id, a.ts, touches(i._ts, i._id, '', false, 'last') as touches
from again a
join state.impressions i on a.subject = i.subject and a.ts between i._ts and i._ts + (select lookback from param)
where not exists (select 1 from shown s where s._id = i._id and s._ts = i._ts)
group by a.event_id, a.ts;

create view moved as
select credit['impression_event_id'] as _id, credit['impression_ts'] as _ts
from latest
union
select credit['impression_event_id'] as _id, credit['impression_ts'] as _ts
from (select unnest(credits(touches, 'last', interval '1 hour')) as credit from earlier);

-- The impressions that are new, or may have won or lost a play.
create view told as
select _id, _ts, subject, _request_id, _action, _slot, _propensity, _action_set, context
from shown
union all
select i._id, i._ts, i.subject, i._request_id, i._action, i._slot, i._propensity, i._action_set, i.context
from moved m
join state.impressions i on m._id = i._id and m._ts = i._ts;

-- An impression is credited with a play only if it is with the first after it.
create view following as
select i._id, i._ts, i.subject, p.event_id as play_event_id, p.ts as play_ts
from told i
left join batch.plays p on i.subject = p.subject and p.ts between i._ts and i._ts + (select lookback from param)
union all
select i._id, i._ts, i.subject, p.event_id, p.ts
from told i
join state.plays p on i.subject = p.subject and p.ts between i._ts and i._ts + (select lookback from param);

create view followed as
select _id, _ts, subject, touches(play_ts, play_event_id, '', false, 'first') as later
from following
group by _id, _ts, subject;

create view first_play as
select _id, _ts, subject, sources(later)['candidates'] as plays,
       unnest(credits(later, 'first', interval '1 hour')) as first
from followed;

create view asked as
select _id, _ts, subject, plays, first['impression_ts'] as play_ts
from first_play
where first['impression_ts'] is not null;

create view rival as
select a._id, a._ts, a.plays, i._ts as rival_ts, i._id as rival_id
from asked a
left join shown i on a.subject = i.subject and a.play_ts between i._ts and i._ts + (select lookback from param)
union all
select a._id, a._ts, a.plays, i._ts, i._id
from asked a
join state.impressions i on a.subject = i.subject and a.play_ts between i._ts and i._ts + (select lookback from param);

create view judged as
select _id, _ts, plays, touches(rival_ts, rival_id, '', false, 'last') as touches
from rival
group by _id, _ts, plays;

create view credited as
select _id, _ts, plays, sources(touches)['candidates'] as candidates,
       unnest(credits(touches, 'last', interval '1 hour')) as credit
from judged;

-- Another play may come first only as one more, and another impression before the first play only as one more, too.
create view rewarded as
select _id, _ts, plays * 4294967296 + candidates as _version,
       case when credit['impression_event_id'] = _id and credit['impression_ts'] = _ts then 1 else 0 end as reward
from credited;

create view tuple as
select _id, _ts, _request_id, _action, _slot, _propensity, _action_set, context
from told;

create view output.tuples as
select t._request_id as request_id, t._id as impression_event_id, t._ts as impression_ts, t as context,
       t._action as action, t._slot as slot, t._propensity as propensity, t._action_set as action_set,
       cast(coalesce(r.reward, 0) as double) as reward, coalesce(r._version, 0) as _version
from tuple t
left join rewarded r on t._id = r._id and t._ts = r._ts;

comment on view output.tuples is 'key (impression_event_id, impression_ts), time impression_ts, greatest (_version)';
