//! Parquet files as one DataFusion table: exactly the files named, without a second listing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::{SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as PlanResult;
use datafusion::execution::TaskContext;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::execution::cache::default_cache::DefaultCache;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::FutureExt as _;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::ObjectMeta;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::ParquetMetaData;

use crate::archive::location::Location;
use crate::archive::partitions::DataFile;
use crate::archive::union::{convention, union};
use crate::archive::verify::verify;
use crate::failure::failed;
use crate::fault::SourceError;
use crate::files::parquet_file::UNDECODABLE;

/// How many footers are read at the same time.
pub(crate) const FOOTERS: usize = 16;

/// The most columns of a table of which footers are asked.
const TOLD_OF: usize = 1000;

/// The footers that one table keeps for its plans.
const FOOTER_BYTES_MAX: usize = 64 << 20;

/// A table over exactly these files, its schema their union by name: times as [`TIME`](crate::TIME), text as
/// `Utf8View`, a column that a file lacks as null. It keeps statistics, and filters are applied while reading, so that
/// other columns of rows that do not pass are not decoded. It registers its store itself in whichever session plans it.
///
/// # Errors
/// No files, a file that is no Parquet or not the one that was sealed, or schemas that do not go together, as
/// [`SourceError`].
pub async fn scan(root: &Location, files: &[DataFile]) -> Result<Arc<dyn TableProvider>> {
    verify(root, files).await?;
    Ok(Arc::new(Files::open(root, files).await?))
}

/// The schema of [`scan`] over these files.
///
/// # Errors
/// As [`scan`].
pub async fn schema_of(root: &Location, files: &[DataFile]) -> Result<SchemaRef> {
    Ok(Files::open(root, files).await?.schema)
}

/// How many rows files hold, by their footers.
///
/// # Errors
/// As [`scan`].
pub async fn count_rows(root: &Location, files: &[DataFile]) -> Result<u64> {
    if files.is_empty() {
        return Ok(0);
    }
    let rows = Files::open(root, files).await?.statistics.num_rows;
    Ok(rows.get_value().copied().unwrap_or_default() as u64)
}

/// The rows of one file in order, in the schema that [`scan`] gives it.
///
/// # Errors
/// As [`scan`], and for every batch that cannot be read.
pub async fn read(root: &Location, file: &DataFile) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    verify(root, std::slice::from_ref(file)).await?;
    let what = format!("read {}", root.spelled(&file.path));
    let context = Arc::new(TaskContext::default());
    let table = Files::open(root, std::slice::from_ref(file)).await?;
    context.runtime_env().register_object_store(&root.url, Arc::clone(&root.store));
    let rows = table.plan(1, None, None).and_then(|plan| execute_stream(plan, context));
    let rows = rows.map_err(|e| failed(what.clone(), e))?;
    Ok(rows.map_err(move |e| failed(what.clone(), e)).boxed())
}

/// Why a file cannot be read, where that is so: a run that failed over many looks which it was. On a task of its own, for
/// damaged Parquet makes the decoder panic.
pub async fn culprit(root: &Location, file: &DataFile) -> Option<SourceError> {
    let (place, of) = (root.clone(), file.clone());
    let whole = tokio::spawn(async move {
        let mut rows = read(&place, &of).await?;
        while rows.try_next().await?.is_some() {}
        anyhow::Ok(())
    });
    match whole.await {
        Ok(Ok(())) => None,
        Ok(Err(e)) => e.downcast().ok(),
        Err(_) => Some(SourceError::BadData(format!("read {}: {UNDECODABLE}", root.spelled(&file.path)))),
    }
}

/// Files as one table.
#[derive(Debug)]
pub(crate) struct Files {
    location: Location,
    source: Arc<ParquetSource>,
    pub schema: SchemaRef,
    files: Vec<PartitionedFile>,
    statistics: Statistics,
}

impl Files {
    pub(crate) async fn open(root: &Location, files: &[DataFile]) -> Result<Self> {
        if files.is_empty() {
            bail!(SourceError::Missing(format!("no files to read in {root}")));
        }
        let cache: Arc<FileMetadataCache> = Arc::new(DefaultCache::new(FOOTER_BYTES_MAX));
        // Owned, or the future could not be sent to another thread: the compiler takes the borrow for a general one.
        let owned: Vec<_> = files.iter().map(|file| footer(root.clone(), file.clone(), Arc::clone(&cache))).collect();
        let footers = stream::iter(owned).buffered(FOOTERS);
        let footers: Vec<Footer> = footers.try_collect().await?;
        verify(root, &outvoted(files, &footers)).await?;
        let named: Vec<_> = footers.iter().map(|f| (f.object.location.to_string(), Arc::clone(&f.schema))).collect();
        let schema = union(&named)?;
        let mut files = Vec::with_capacity(footers.len());
        for footer in footers {
            let bounds = catch_unwind(AssertUnwindSafe(|| footer.statistics(&schema)));
            let what = || format!("read {}: {UNDECODABLE}", root.spelled(&footer.object.location));
            let bounds = bounds.unwrap_or_else(|_| Err(SourceError::BadData(what()).into()));
            let statistics = Arc::new(bounds?);
            files.push(PartitionedFile::new_from_meta(footer.object).with_statistics(statistics));
        }
        let each = files.iter().filter_map(|f| f.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(each, &schema)?;
        let reader = CachedParquetFileReaderFactory::new(Arc::clone(&root.store), cache);
        let source = ParquetSource::new(Arc::clone(&schema))
            .with_table_parquet_options(options())
            .with_parquet_file_reader_factory(Arc::new(reader));
        Ok(Self { location: root.clone(), source: Arc::new(source), schema, files, statistics })
    }

    /// Some of the columns, in so many partitions; with one, the rows of each file are in their order.
    pub(crate) fn plan(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let url = ObjectStoreUrl::parse(&self.location.url)?;
        let groups = FileGroup::new(self.files.clone()).split_files(partitions);
        let source = Arc::clone(&self.source);
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(groups)
            .with_statistics(self.statistics.clone())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The files whose columns are not those of most others, or of which there are too few to tell: what a damaged footer
/// says would become columns of the table.
fn outvoted(files: &[DataFile], footers: &[Footer]) -> Vec<DataFile> {
    let mut votes: Vec<(&SchemaRef, usize)> = Vec::new();
    for footer in footers {
        match votes.iter_mut().find(|(schema, _)| **schema == footer.schema) {
            Some((_, votes)) => *votes += 1,
            None => votes.push((&footer.schema, 1)),
        }
    }
    let most = votes.iter().find(|(_, votes)| *votes > 2 && votes * 2 > files.len()).map(|(schema, _)| *schema);
    let odd = files.iter().zip(footers).filter(|(_, footer)| most != Some(&footer.schema));
    odd.map(|(file, _)| file.clone()).collect()
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(self.statistics.clone())
    }

    /// Inexact here: the physical optimiser moves filters into the reader, which says itself which ones it applies.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        state.runtime_env().register_object_store(&self.location.url, Arc::clone(&self.location.store));
        self.plan(state.config().target_partitions(), projection, limit)
    }
}

/// Filters while decoding, cheapest first; and Spark's INT96 times not through nanoseconds, which end in 2262.
fn options() -> TableParquetOptions {
    let mut options = TableParquetOptions::default();
    options.global.pushdown_filters = true;
    options.global.reorder_filters = true;
    options.global.coerce_int96 = Some("us".to_string());
    options
}

/// What a file says of itself at its end.
pub(crate) struct Footer {
    object: ObjectMeta,
    pub metadata: Arc<ParquetMetaData>,
    /// The columns as the file has them, but for text and bytes, which are read as views at no cost.
    pub schema: SchemaRef,
}

/// The footer of one file.
pub(crate) async fn footer_of(root: &Location, file: &DataFile) -> Result<Footer> {
    footer(root.clone(), file.clone(), Arc::new(DefaultCache::new(FOOTER_BYTES_MAX))).await
}

/// A damaged footer makes the decoder panic.
async fn footer(root: Location, file: DataFile, cache: Arc<FileMetadataCache>) -> Result<Footer> {
    let what = format!("read {}: {UNDECODABLE}", root.spelled(&file.path));
    let read = AssertUnwindSafe(decoded(root, file, cache)).catch_unwind().await;
    read.unwrap_or_else(|_| Err(SourceError::BadData(what).into()))
}

async fn decoded(root: Location, file: DataFile, cache: Arc<FileMetadataCache>) -> Result<Footer> {
    // The cache lives as long as the table, within which a file does not change: no time of change is needed.
    let object = ObjectMeta {
        location: file.path.clone(),
        last_modified: Default::default(),
        size: file.bytes,
        e_tag: Some(file.version.clone()),
        version: None,
    };
    let reader = DFParquetMetadata::new(root.store.as_ref(), &object)
        .with_metadata_size_hint(options().global.metadata_size_hint)
        .with_file_metadata_cache(Some(cache))
        .with_coerce_int96(Some(TimeUnit::Microsecond));
    let what = || format!("read {}", root.spelled(&file.path));
    let metadata = reader.fetch_metadata().await.map_err(|e| failed(what(), e))?;
    let schema = reader.fetch_schema().await.map_err(|e| failed(what(), e))?;
    Ok(Footer { metadata, schema: Arc::new(schema), object })
}

impl Footer {
    /// What the footer says about the table's columns. Of a column that the file has in another type only how many
    /// values are null: DataFusion would take milliseconds for microseconds. Bounds of floats are estimates, for they
    /// leave NaN out: as exact ones they make DataFusion read a column of 1.5 and NaN as 1.5 throughout.
    ///
    /// Of a table of very many columns it is only the number of rows: to look each of them up by its name takes longer
    /// than reading the file.
    fn statistics(&self, table: &SchemaRef) -> Result<Statistics> {
        if table.fields().len() > TOLD_OF {
            let num_rows = Precision::Exact(self.metadata.file_metadata().num_rows() as usize);
            return Ok(Statistics { num_rows, ..Statistics::new_unknown(table) });
        }
        let own = DFParquetMetadata::statistics_from_parquet_metadata(&self.metadata, table)?;
        let file = self.metadata.file_metadata();
        let physical = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata())?;
        let column = |(field, found): (&arrow::datatypes::FieldRef, ColumnStatistics)| {
            let unknown = ColumnStatistics::new_unknown();
            match physical.field_with_name(field.name()) {
                Ok(f) if same(f.data_type(), field.data_type()) => match f.data_type().is_floating() {
                    true => found.to_inexact(),
                    false => found,
                },
                Ok(_) => unknown.with_null_count(found.null_count),
                Err(_) => unknown.with_null_count(own.num_rows),
            }
        };
        let columns = table.fields().iter().zip(own.column_statistics).map(column).collect();
        Ok(Statistics { num_rows: own.num_rows, total_byte_size: Precision::Absent, column_statistics: columns })
    }
}

/// Whether a column's values, and so their bounds, are the same in the file and in the table.
fn same(file: &arrow::datatypes::DataType, table: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType::Timestamp;
    match (file, table) {
        (Timestamp(a, _), Timestamp(b, _)) => a == b,
        _ => convention(file) == *table,
    }
}
