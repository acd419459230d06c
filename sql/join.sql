-- join: plays with the impressions they came from.
--
-- A play meets an impression of the same request when it comes at the impression's time or after it, by at most
-- `within`. New rows meet new rows, and the new rows of each side meet what the other side left in state: so every
-- pair is found in the step that brings its second half, whichever half that is.

create schema batch;
create schema state;
create schema output;

create view param as select interval '2 hours' as within, 'inner' as type;

-- What each type writes: pairs, impressions that have one, and the rows of each side that have none.
create view wanted as
select type in ('inner', 'left', 'right', 'full') as pairs,
       type = 'semi' as impressions_in_pairs,
       type in ('left', 'full', 'anti') as impressions_alone,
       type in ('right', 'full') as plays_alone
from param;

create table batch.impressions (event_id text, ts timestamp, request_id text);
create table batch.plays (event_id text, ts timestamp, request_id text);

comment on table batch.impressions is 'time ts, before within,
  reject case when event_id is null then ''missing_id: the id is null'' end';
comment on table batch.plays is 'time ts, after case when type in (''inner'', ''right'') then interval ''0'' else within end,
  reject case when event_id is null then ''missing_id: the id is null'' end';

create table state.impressions as select * from batch.impressions;
create table state.plays as select * from batch.plays;

comment on table state.impressions is 'key (event_id, ts), time ts, keep within';
comment on table state.plays is 'key (event_id, ts), time ts, keep interval ''0''';

create view pair as
select p.request_id, i as impression, p as play
from batch.plays p
join batch.impressions i
  on p.request_id = i.request_id and p.ts between i.ts and i.ts + (select within from param)
union all
select p.request_id, i as impression, p as play
from batch.plays p
join state.impressions i
  on p.request_id = i.request_id and p.ts between i.ts and i.ts + (select within from param)
union all
select p.request_id, i as impression, p as play
from state.plays p
join batch.impressions i
  on p.request_id = i.request_id and p.ts between i.ts and i.ts + (select within from param);

-- A row is alone until one of its pairs retracts that: true wins over false, in whichever order they come.
create view output.joined as
select *, false as retracted
from pair
where (select pairs from wanted)
union all by name
select request_id, impression, false as retracted
from pair
where (select impressions_in_pairs from wanted)
union all by name
select i.request_id, i as impression, false as retracted
from batch.impressions i
where (select impressions_alone from wanted)
union all by name
select request_id, impression, true as retracted
from pair
where (select impressions_alone from wanted)
union all by name
select p.request_id, p as play, false as retracted
from batch.plays p
where (select plays_alone from wanted)
union all by name
select request_id, play, true as retracted
from pair
where (select plays_alone from wanted);

comment on view output.joined is 'key (play_event_id, impression_event_id), time coalesce(play_ts, impression_ts),
  hold impressions by (request_id, impression) when type in (''left'', ''full''),
  hold plays by (request_id, play) when type in (''right'', ''full''),
  divided case when type in (''left'', ''right'', ''anti'') then
    ''a row without a partner in one region may have one in another, and --type '' || type || '' leaves those out: ''
    || ''merge joins of --type full into one of --type '' || type || '', or the archives'' end';
