//! How many rows plans over tables have read so far, for those who wait for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{ExecutionPlan, displayable};

/// Rows read by plans, which go on meanwhile. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Reading(Arc<Mutex<BTreeMap<String, Vec<ExecutionPlanMetricsSet>>>>);

impl Reading {
    /// Rows read so far. Where one plan reads the same files several times, they count once.
    pub fn rows(&self) -> u64 {
        let scans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |scan: &ExecutionPlanMetricsSet| scan.clone_inner().output_rows().unwrap_or(0) as u64;
        scans.values().map(|scans| scans.iter().map(read).max().unwrap_or(0)).sum()
    }

    /// Watches a plan that is about to be executed. Only its counters are kept, and not what it holds.
    pub(crate) fn watch(&self, plan: &Arc<dyn ExecutionPlan>) {
        if let Some(scan) = plan.downcast_ref::<DataSourceExec>() {
            let shown = displayable(plan.as_ref()).one_line().to_string();
            let files = shown.split("projection=").next().unwrap_or_default().to_owned();
            let mut scans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            scans.entry(files).or_default().push(scan.data_source().metrics());
        }
        plan.children().into_iter().for_each(|child| self.watch(child));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::dataframe::DataFrameWriteOptions;
    use datafusion::physical_plan::collect;
    use datafusion::prelude::{ParquetReadOptions, SessionContext};

    #[tokio::test]
    async fn rows_count_while_they_are_read_and_once_for_each_file() {
        let dir = std::env::temp_dir().join(format!("rescan-reading-{}", std::process::id()));
        let (a, b) = (format!("{}/a.parquet", dir.display()), format!("{}/b.parquet", dir.display()));
        let context = SessionContext::new();
        for (path, rows) in [(&a, 1_000), (&b, 50)] {
            let table = context.sql(&format!("select * from generate_series(1, {rows})")).await.unwrap();
            table.write_parquet(path, DataFrameWriteOptions::new().with_single_file_output(true), None).await.unwrap();
        }
        let reading = Reading::default();
        for (path, rows) in [(&a, 1_000), (&a, 1_000), (&b, 1_050)] {
            let table = context.read_parquet(path, ParquetReadOptions::default()).await.unwrap();
            let (context, plan) = (Arc::new(table.task_ctx()), table.create_physical_plan().await.unwrap());
            reading.watch(&plan);
            collect(plan, context).await.unwrap();
            assert_eq!(reading.rows(), rows, "{path}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
