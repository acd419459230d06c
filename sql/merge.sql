-- merge: the rows of several regions' outputs, each once.
--
-- An output that does not hold what its f read can only be united, by its key. A row, or a group of rows, that several
-- regions have must be the same in all of them, and the run ends where it is not: nothing here could decide between
-- them. But a group of lesser `standing` gives way: a play without candidates in one region to what another region
-- credits it to. `id`, `together` and `carried` stand for columns of the outputs, `standing` for an expression.

create schema batch;
create schema state;
create schema output;

create table batch.rows (_merged_hour timestamp, _merged_region text, id text, carried text, standing int);

comment on table batch.rows is 'time _merged_hour';

-- It only tells repeats, for the account of rows.
create table state.rows as select id, _merged_hour from batch.rows;

comment on table state.rows is 'key (id, _merged_hour), time _merged_hour, keep interval ''0''';

create view output.rows as
select *, standing as _version from batch.rows;

comment on view output.rows is 'key (id), time _merged_hour, group (together), greatest (_version)';
