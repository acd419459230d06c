-- aggregate: how often each group was shown and played in each epoch, counted as sets of request ids.
--
-- A set does not mind being told twice, nor in which order: so re-delivered rows, replays and regions merged later
-- leave the counts as they are. The sets live in state; the output shows their cardinalities.
-- The columns `…_requests` are the sets themselves, for `--sets`; without it they are left out, here and in state.

create schema batch;
create schema state;
create schema delta;
create schema next;
create schema output;

create view param as select interval '30 minutes' as epoch;

create table batch.impressions (ts timestamp, request_id text, video_id bigint);
create table batch.plays (ts timestamp, request_id text, video_id bigint);

-- An epoch that divides the hour ends with it; a longer or an odd one runs on into the next.
comment on table batch.impressions is 'time ts,
  after case when 3600 % date_part(''epoch'', epoch) = 0 then interval ''0'' else epoch end';
comment on table batch.plays is 'time ts,
  after case when 3600 % date_part(''epoch'', epoch) = 0 then interval ''0'' else epoch end';

create table state.counts
  (video_id bigint, epoch timestamp, impressions bytea, plays bytea, impression_requests bytea, play_requests bytea);

comment on table state.counts is 'key (video_id, epoch), time epoch, keep epoch,
  merge impressions by id_set, merge plays by id_set,
  merge impression_requests by text_set, merge play_requests by text_set';

create view seen as
select video_id, date_bin((select epoch from param), ts) as epoch, request_id as impression, null as play
from batch.impressions
union all
select video_id, date_bin((select epoch from param), ts) as epoch, null as impression, request_id as play
from batch.plays;

create view delta.counts as
select video_id, epoch, id_set(impression) as impressions, id_set(play) as plays,
       text_set(impression) as impression_requests, text_set(play) as play_requests
from seen
group by video_id, epoch;

-- What this step makes of the groups it touched: over empty state, the delta itself.
create view next.counts as select * from delta.counts;

create view output.counts as
select video_id, epoch, id_count(impressions) as impressions, id_count(plays) as plays,
       cast(id_count(plays) as double) / nullif(id_count(impressions), 0) as take_rate,
       text_list(impression_requests) as impression_requests, text_list(play_requests) as play_requests
from next.counts;

comment on view output.counts is 'key (video_id, epoch), time epoch, greatest (impressions, plays),
  hold impressions by (video_id, epoch as ts, impression_requests as request_id),
  hold plays by (video_id, epoch as ts, play_requests as request_id),
  divided ''counts do not add up, as a request may be in several regions, and groups by request or by time are one event
    each: run aggregate with --sets, or merge the archives and run it again''';
