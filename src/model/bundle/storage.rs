//! Bundle ↔ folder.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use super::manifest::{FileEntry, MAGIC, OLDEST_READABLE};
use super::{
    BaseRateTier, Bundle, CheapTier, FORMAT_VERSION, MANIFEST_FILE, Manifest, Model, ModelKind, Parts, Profile,
    Provenance, Tiers,
};
use crate::durable::PartialFolder;
use crate::error::{Error, Result};
use crate::kernels::Table;
use crate::kernels::mapped::FileBytes;
use crate::model::Layout;
use crate::model::base_rate::BaseRateModel;
use crate::model::calibration::Calibrator;
use crate::model::codec;
use crate::model::dcn::{DcnConfig, DcnEnsemble, Values};
use crate::model::features::hash::{self, Fingerprint};
use crate::model::features::indexer::Plan;
use crate::model::features::{Encoder, Indexer};
use crate::model::ftrl::FtrlModel;
use crate::model::schema::Schema;

const ENCODER_FILE: &str = "encoder.bin";
const WEIGHTS_FILE: &str = "weights.safetensors";
/// The rungs below the model, since format 2.
const TIERS_FILE: &str = "tiers.bin";
/// Numbers in bulk of the cheap one, where there is one.
const CHEAP_FILE: &str = "cheap.safetensors";

/// `encoder.bin`.
#[derive(Serialize, Deserialize)]
struct Metadata {
    schema_source: String,
    encoder: Encoder,
    plan: Plan,
    calibrator: Calibrator,
    /// Settings that say how the weights are put together, as JSON, so that later versions can add some; empty for models
    /// that need none.
    model_settings: String,
}

/// `tiers.bin`.
#[derive(Serialize, Deserialize)]
struct TiersMetadata {
    /// Plan of the indexer and calibrator.
    cheap: Option<(Plan, Calibrator)>,
    base_rate_logit: f32,
    base_rate_calibrator: Calibrator,
}

/// A tensor to be written.
struct Tensor<'a> {
    shape: Vec<usize>,
    dtype: Dtype,
    bytes: &'a [u8],
}

impl Bundle {
    /// Puts a bundle together; name and files of the manifest follow from the content.
    pub fn new(parts: Parts, provenance: Provenance, profile: Profile, metrics: IndexMap<String, f64>) -> Bundle {
        let mut bundle = Bundle::draft(parts, provenance, profile);
        bundle.manifest.metrics = metrics;
        let files = bundle.files();
        let entry = |bytes: &Vec<u8>| FileEntry { bytes: bytes.len() as u64, fingerprint: Fingerprint::of(bytes) };
        bundle.manifest.files = files.iter().map(|(name, bytes)| ((*name).to_owned(), entry(bytes))).collect();
        bundle.manifest.model = bundle.manifest.name_of_content();
        bundle
    }

    /// A bundle that can score but has no name yet: for looks at a model that is still learning.
    pub fn draft(parts: Parts, provenance: Provenance, profile: Profile) -> Bundle {
        let Parts { schema, encoder, indexer, model, calibrator, tiers } = parts;
        let kind = model.kind();
        let manifest = Manifest {
            magic: MAGIC.into(),
            format: FORMAT_VERSION,
            model: String::new(),
            kind,
            schema: schema.name.clone(),
            schema_fingerprint: schema.fingerprint(),
            hash_version: hash::VERSION,
            provenance,
            profile,
            metrics: IndexMap::new(),
            files: IndexMap::new(),
        };
        Bundle { manifest, schema, encoder, indexer, model, calibrator, tiers }
    }

    /// Writes the bundle to `folder`, whole or not at all. A bundle already there is replaced.
    ///
    /// # Errors
    /// Config when something else stands there; io when it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let partial = PartialFolder::create(folder, MANIFEST_FILE)?;
        for (name, bytes) in self.files() {
            partial.write(name, &bytes)?;
        }
        let manifest = serde_json::to_vec_pretty(&self.manifest).map_err(|error| Error::Bug(error.to_string()))?;
        partial.write(MANIFEST_FILE, &manifest)?;
        partial.commit()
    }

    /// Size in bytes of the files that hold the model.
    pub fn size(&self) -> u64 {
        self.manifest.files.values().map(|file| file.bytes).sum()
    }

    /// Reads and checks a bundle.
    ///
    /// # Errors
    /// Io when files are missing; bundle when it is corrupted, of another version, or not a bundle at all.
    pub fn open(folder: &Path) -> Result<Bundle> {
        let name = folder.display().to_string();
        let refuse = |message: String| Error::bundle(&name, message);
        let manifest = Manifest::read(folder)?;
        let mut contents = HashMap::new();
        for (file, entry) in &manifest.files {
            if file.contains(['/', '\\']) {
                return Err(refuse(format!("{MANIFEST_FILE} names a file outside the bundle: {file:?}")));
            }
            let path = folder.join(file);
            let bytes = bytes_of(&path).map_err(|error| refuse(format!("{file} cannot be read: {error}")))?;
            if bytes.len() as u64 != entry.bytes {
                return Err(refuse(format!("{file} is cut: expected {} bytes, got {}", entry.bytes, bytes.len())));
            }
            if Fingerprint::of(&bytes) != entry.fingerprint {
                return Err(refuse(format!("{file} is corrupted: its content does not match {MANIFEST_FILE}")));
            }
            contents.insert(file.as_str(), bytes);
        }
        let file = |wanted: &str| {
            contents.get(wanted).ok_or_else(|| refuse(format!("{MANIFEST_FILE} does not list {wanted}")))
        };
        let metadata: Metadata = codec::decode(file(ENCODER_FILE)?)
            .map_err(|error| refuse(format!("{ENCODER_FILE} cannot be read: {error}")))?;
        let schema = Schema::parse(&metadata.schema_source, &name)
            .map_err(|error| refuse(format!("its schema cannot be read: {error}")))?;
        if schema.fingerprint() != manifest.schema_fingerprint || metadata.encoder.schema() != schema.fingerprint() {
            return Err(refuse("schema, encoder and manifest do not belong together".into()));
        }
        let weights = Weights::read(file(WEIGHTS_FILE)?, WEIGHTS_FILE, &name)?;
        let indexer = weights.indexer(metadata.plan)?;
        let model = weights.model(manifest.kind, &metadata.model_settings, indexer.layout())?;
        let tiers = match manifest.format {
            1 => Tiers::of_rate(manifest.profile.clicks, manifest.profile.rows),
            _ => {
                let tiers: TiersMetadata = codec::decode(file(TIERS_FILE)?)
                    .map_err(|error| refuse(format!("{TIERS_FILE} cannot be read: {error}")))?;
                let weights = tiers.cheap.is_some().then(|| Weights::read(file(CHEAP_FILE)?, CHEAP_FILE, &name));
                tiers.restore(weights.transpose()?, metadata.encoder.width())?
            }
        };
        let Metadata { encoder, calibrator, .. } = metadata;
        Ok(Bundle { manifest, schema, encoder, indexer, model, calibrator, tiers })
    }

    /// The bundle's files but for the manifest.
    fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (plan, vocabularies) = self.indexer.parts();
        let metadata = Metadata {
            schema_source: self.schema.source.clone(),
            encoder: self.encoder.clone(),
            plan: plan.clone(),
            calibrator: self.calibrator.clone(),
            model_settings: match &self.model {
                Model::BaseRate(_) | Model::Ftrl(_) => String::new(),
                Model::Dcn(model) => serde_json::to_string(model.config()).expect("settings serialize"),
            },
        };
        let weights = match &self.model {
            Model::BaseRate(model) => vec![("logit".to_owned(), vec![1], std::slice::from_ref(&model.logit))],
            Model::Ftrl(model) => linear_tensors(model),
            Model::Dcn(model) => model.tensors(),
        };
        let tiers = TiersMetadata {
            cheap: self.tiers.cheap.as_ref().map(|cheap| (cheap.indexer.parts().0.clone(), cheap.calibrator.clone())),
            base_rate_logit: self.tiers.base_rate.model.logit,
            base_rate_calibrator: self.tiers.base_rate.calibrator.clone(),
        };
        // In the order of their names, which a manifest that was read has too: the model's name follows from it.
        let mut files = vec![
            (ENCODER_FILE, codec::encode(&metadata)),
            (TIERS_FILE, codec::encode(&tiers)),
            (WEIGHTS_FILE, tensors_file(vocabularies, weights)),
        ];
        if let Some(cheap) = &self.tiers.cheap {
            files.insert(0, (CHEAP_FILE, tensors_file(cheap.indexer.parts().1, linear_tensors(&cheap.model))));
        }
        files
    }
}

/// A file in memory: a service opens bundles while it answers, so it is read by pieces.
fn bytes_of(path: &Path) -> io::Result<FileBytes> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    FileBytes::read(file, length)
}

fn linear_tensors(model: &FtrlModel) -> Vec<(String, Vec<usize>, &[f32])> {
    vec![
        ("weights".into(), vec![model.weights.len()], &model.weights),
        ("bias".into(), vec![1], std::slice::from_ref(&model.bias)),
    ]
}

/// Vocabularies and weights (name, shape, values) → a safetensors file.
fn tensors_file(vocabularies: Vec<&[u32]>, weights: Vec<(String, Vec<usize>, &[f32])>) -> Vec<u8> {
    let codes = vocabularies.into_iter().enumerate().map(|(position, codes)| {
        let bytes = bytemuck::cast_slice(codes);
        (format!("vocabulary.{position}"), Tensor { shape: vec![codes.len()], dtype: Dtype::U32, bytes })
    });
    let weights = weights.into_iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice::<f32, u8>(values);
        (name, Tensor { shape, dtype: Dtype::F32, bytes })
    });
    let tensors: Vec<(String, Tensor<'_>)> = codes.chain(weights).collect();
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), tensor.bytes);
        (name.as_str(), view.expect("the bytes are those of the shape"))
    });
    serialize(views, None).expect("tensors of known shapes serialize")
}

impl TiersMetadata {
    /// The rungs, with the weights of the cheap one where there is one. Rows have `codes_width` codes.
    fn restore(self, weights: Option<Weights<'_>>, codes_width: usize) -> Result<Tiers> {
        let cheap = match (self.cheap, weights) {
            (Some((plan, calibrator)), Some(weights)) => {
                let indexer = weights.indexer(plan)?;
                if indexer.codes_width() != codes_width {
                    let got = indexer.codes_width();
                    let message = format!("{TIERS_FILE} takes rows of {got} codes, expected {codes_width}");
                    return Err(Error::bundle(weights.bundle, message));
                }
                let model = weights.linear(indexer.layout())?;
                Some(Arc::new(CheapTier { indexer, model, calibrator }))
            }
            _ => None,
        };
        let model = BaseRateModel { logit: self.base_rate_logit };
        Ok(Tiers { cheap, base_rate: BaseRateTier { model, calibrator: self.base_rate_calibrator } })
    }
}

impl Manifest {
    /// The name that follows from the kind and the other files.
    fn name_of_content(&self) -> String {
        let content: String = self.files.values().map(|file| file.fingerprint.to_string()).collect();
        let fingerprint = Fingerprint::of(content.as_bytes()).to_string();
        format!("{}-{}", self.kind, &fingerprint[..12])
    }

    /// Reads and checks the manifest alone.
    ///
    /// # Errors
    /// Io when it is missing; bundle when it is none of ours or of a version this build cannot read.
    pub fn read(folder: &Path) -> Result<Manifest> {
        let name = folder.display().to_string();
        let path = folder.join(MANIFEST_FILE);
        if folder.is_dir() && !path.exists() {
            return Err(Error::bundle(&name, format!("it is no bundle: it holds no {MANIFEST_FILE}")));
        }
        let text = fs::read(&path).map_err(Error::io(&path, "read"))?;
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| Error::bundle(&name, format!("{MANIFEST_FILE} cannot be read: {error}")))?;
        if value["magic"] != MAGIC {
            return Err(Error::bundle(&name, format!("it is no bundle: {MANIFEST_FILE} does not say {MAGIC:?}")));
        }
        match value["format"].as_u64() {
            Some(format) if (u64::from(OLDEST_READABLE)..=u64::from(FORMAT_VERSION)).contains(&format) => {}
            format => {
                let format = format.map_or("none".into(), |format| format.to_string());
                let message = format!("expected format {OLDEST_READABLE} to {FORMAT_VERSION}, got {format}");
                return Err(Error::bundle(&name, message));
            }
        }
        let manifest: Manifest = serde_json::from_value(value)
            .map_err(|error| Error::bundle(&name, format!("{MANIFEST_FILE} cannot be read: {error}")))?;
        if manifest.hash_version != hash::VERSION {
            let message =
                format!("its codes are of hash version {}, expected {}", manifest.hash_version, hash::VERSION);
            return Err(Error::bundle(&name, message));
        }
        let expected = manifest.name_of_content();
        if manifest.model != expected {
            let message = format!("its content is that of {expected}, but {MANIFEST_FILE} calls it {}", manifest.model);
            return Err(Error::bundle(&name, message));
        }
        Ok(manifest)
    }
}

/// Tensors of a bundle, looked up by name.
struct Weights<'a> {
    tensors: SafeTensors<'a>,
    file: &'static str,
    bundle: &'a str,
}

impl<'a> Weights<'a> {
    fn read(bytes: &'a [u8], file: &'static str, bundle: &'a str) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| Error::bundle(bundle, format!("{file} cannot be read: {error}")))?;
        Ok(Weights { tensors, file, bundle })
    }

    fn indexer(&self, plan: Plan) -> Result<Indexer> {
        Indexer::from_parts(plan, self.vocabularies()?, self.bundle)
    }

    fn vocabularies(&self) -> Result<Vec<Vec<u32>>> {
        let count = self.tensors.names().iter().filter(|name| name.starts_with("vocabulary.")).count();
        // Numbers may lie unaligned in the file.
        let codes = |name: String| self.bytes(&name, Dtype::U32, None).map(bytemuck::pod_collect_to_vec);
        (0..count).map(|position| codes(format!("vocabulary.{position}"))).collect()
    }

    fn model(&self, kind: ModelKind, settings: &str, layout: &Layout) -> Result<Model> {
        match kind {
            ModelKind::BaseRate => Ok(Model::BaseRate(BaseRateModel { logit: self.one("logit")? })),
            ModelKind::Ftrl => Ok(Model::Ftrl(self.linear(layout)?)),
            ModelKind::Dcn => {
                let config: DcnConfig = serde_json::from_str(settings)
                    .map_err(|error| Error::bundle(self.bundle, format!("its settings cannot be read: {error}")))?;
                let lookup = |name: &str| {
                    let shape = self.tensors.tensor(name).ok()?.shape().to_vec();
                    Some((shape, Arc::new(self.table(name, None).ok()?) as Values))
                };
                let model = DcnEnsemble::from_tensors(&config, layout, lookup)
                    .map_err(|error| Error::bundle(self.bundle, format!("{WEIGHTS_FILE}: {error}")))?;
                Ok(Model::Dcn(Arc::new(model)))
            }
        }
    }

    fn linear(&self, layout: &Layout) -> Result<FtrlModel> {
        let weights = self.table("weights", Some(&[layout.table_rows]))?;
        Ok(FtrlModel { weights, bias: self.one("bias")? })
    }

    fn one(&self, name: &str) -> Result<f32> {
        Ok(self.table(name, Some(&[1]))?[0])
    }

    fn table(&self, name: &str, shape: Option<&[usize]>) -> Result<Table> {
        Ok(Table::beside_requests(self.bytes(name, Dtype::F32, shape)?))
    }

    /// The numbers of a tensor as they lie in the file.
    fn bytes(&self, name: &str, dtype: Dtype, shape: Option<&[usize]>) -> Result<&[u8]> {
        let refuse = |message: String| Error::bundle(self.bundle, message);
        let tensor = self.tensors.tensor(name).map_err(|_| refuse(format!("{} has no tensor {name:?}", self.file)))?;
        if tensor.dtype() != dtype || shape.is_some_and(|shape| tensor.shape() != shape) {
            let (got, shape) = (tensor.shape(), shape.unwrap_or(&[]));
            return Err(refuse(format!(
                "tensor {name:?}: expected {dtype:?} {shape:?}, got {:?} {got:?}",
                tensor.dtype()
            )));
        }
        Ok(tensor.data())
    }
}
