-- stratify: of each stratum the units with the least hashes.
--
-- How many of each is decided at the end, from what there is: until then every row is kept that could still be among
-- the `most` least of its cell, the combination of its strata. `unit`, `stratum` and `positive` stand for the columns
-- and expressions of the command line and its rules.

create schema batch;
create schema state;
create schema delta;
create schema next;
create schema output;

create view param as select 0 as seed, 9223372036854775807 as most, '' as splits, false as whole;

create table batch.events (event_id text, ts timestamp, unit text, stratum text, positive boolean);

comment on table batch.events is 'time ts,
  reject case when event_id is null then ''missing_id: the id is null'' end';

-- The sets below mind no repeats: this table only tells them, for the account of rows.
create table state.events as select event_id, ts from batch.events;

comment on table state.events is 'key (event_id, ts), time ts, keep interval ''0''';

create table state.cells (cell text, since timestamp, units bytea, least bytea);

comment on table state.cells is 'key (cell, since), time since, keep interval ''3650000 days'',
  merge units by id_set, merge least by bottom';

create view marked as
select *, unit_hash(unit, (select seed from param)) as _hash, cell(positive, stratum) as _cell,
       split(unit, (select seed from param), (select splits from param)) as split
from batch.events;

create view delta.cells as
select _cell as cell, timestamp '1970-01-01' as since, id_set(_hash) as units,
       bottom(_hash, (select most from param)) as least
from marked
group by _cell
union all
-- Where units are kept whole: all of them, to see that none is in two cells.
select '' as cell, timestamp '1970-01-01' as since, id_set(_hash) as units, bottom(_hash, 0) as least
from marked
where (select whole from param)
having count(*) > 0;

create view next.cells as select * from delta.cells;

create view edge as
select cell, bottom_edge(least) as edge from next.cells;

-- The edges as one value: whether a row is near enough is then known before its other columns are read. Most rows are
-- beyond all edges, and need no cell to be left out.
create view output.sample as
select * from marked
where _hash <= (select max(edge) from edge)
  and _hash <= edge_of(_cell, (select array_agg(named_struct('cell', cell, 'edge', edge) order by cell) from edge));

comment on view output.sample is 'key (event_id, ts), time ts,
  divided ''of samples no sample of all can be drawn: merge the archives, and draw again''';
