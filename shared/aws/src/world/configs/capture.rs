//! Data capture as a policy has it (`DataCaptureConfig` in the SageMaker API reference).

use aws_sdk_sagemaker::types::{
    CaptureContentTypeHeader, CaptureMode, CaptureOption, DataCaptureConfig,
};
use tidegate_core::pipeline::{Capture, Captured};

/// The content types that are written as text; all others are in base64, which no monitor reads.
const CSV: &str = "text/csv";
const JSON: [&str; 2] = ["application/json", "application/jsonlines"];

/// The config of what the policy says.
pub(super) fn config(capture: &Capture) -> DataCaptureConfig {
    let modes: &[CaptureMode] = match capture.what {
        Captured::Both => &[CaptureMode::Input, CaptureMode::Output],
        Captured::Input => &[CaptureMode::Input],
        Captured::Output => &[CaptureMode::Output],
    };
    let options = modes
        .iter()
        .map(|mode| CaptureOption::builder().capture_mode(mode.clone()).build());
    let types = CaptureContentTypeHeader::builder()
        .csv_content_types(CSV)
        .set_json_content_types(Some(JSON.map(str::to_owned).to_vec()));
    DataCaptureConfig::builder()
        .enable_capture(true)
        .initial_sampling_percentage(i32::from(capture.percent))
        .destination_s3_uri(&capture.to)
        .set_kms_key_id(capture.kms_key.clone())
        .set_capture_options(Some(options.collect()))
        .capture_content_type_header(types.build())
        .build()
}
