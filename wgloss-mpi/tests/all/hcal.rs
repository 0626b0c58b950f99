//! HCAL over ranks, by the core's two halves and sums over ranks: the crate has no type for it.

use crate::schemes::{Failure, bytes, compare, floats, numbers, part};
use wgloss::host::{Engine, Gpu, HcalBatch, Values, Wanted};
use wgloss::{DType, Gradient, Hcal, HcalInputs, HcalOutputs, HcalSums, Levels, Tensor, wgpu};
use wgloss_mpi::World;

const N: usize = 29;
const D: usize = 7;
const CLASSES: [usize; 3] = [11, 5, 2];

/// A batch with labels of their own at each level, some of which are missing.
pub fn over_ranks(world: &World, gpu: &Gpu) -> Result<Vec<f32>, Failure> {
    let cx = gpu.context();
    let mine = part(world, N);
    let parents: [Vec<u32>; 2] = [
        (0..11).map(|class| class % 5).collect(),
        (0..5).map(|class| class % 2).collect(),
    ];
    let levels = Levels::new(&CLASSES, &[&parents[0], &parents[1]])?;
    let x = numbers(1, N * D);
    let prototypes: Vec<Vec<f32>> = (0..)
        .zip(CLASSES)
        .map(|(k, c)| numbers(2 + k, c * D))
        .collect();
    let finest = |i: usize| {
        if i % 7 == 3 {
            u32::MAX
        } else {
            (i * i % 11) as u32
        }
    };
    let above = |k: usize, class: u32| parents[k].get(class as usize).copied();
    let path = |i: usize| {
        let second = above(0, finest(i)).unwrap_or((i % 5) as u32);
        [finest(i), second, above(1, second).unwrap_or(u32::MAX)]
    };
    let labels = |rows: std::ops::Range<usize>| -> Vec<u32> {
        (0..CLASSES.len())
            .flat_map(|k| rows.clone().map(move |i| path(i)[k]))
            .collect()
    };
    let hcal = Hcal::default();
    let values: Vec<Values<'_>> = prototypes.iter().map(|p| Values::F32(p)).collect();
    let batch = HcalBatch {
        samples: N,
        dim: D,
        features: Values::F32(&x),
        prototypes: &values,
        labels: &labels(0..N),
        noise: None,
        balance: None,
        grad_loss: None,
    };
    let truth = Engine::reference().hcal(&hcal, &levels, &batch, Wanted::Gradients)?;

    let put = |values: &[f32]| gpu.upload(&bytes(values, f32::to_le_bytes));
    let features = put(&x[mine.start * D..mine.end * D])?;
    let held: Vec<wgpu::Buffer> = (prototypes.iter().map(|p| put(p))).collect::<Result<_, _>>()?;
    let tensors: Vec<Tensor<'_>> = (held.iter().zip(CLASSES))
        .map(|(buffer, classes)| Tensor::matrix(buffer, DType::F32, classes, D))
        .collect();
    let own_labels = gpu.upload(&bytes(&labels(mine.clone()), u32::to_le_bytes))?;
    let words = gpu.upload(&bytes(&levels.words(), u32::to_le_bytes))?;
    let inputs = HcalInputs {
        features: Tensor::matrix(&features, DType::F32, mine.len(), D),
        prototypes: &tensors,
        labels: Some(Tensor::matrix(
            &own_labels,
            DType::U32,
            CLASSES.len(),
            mine.len(),
        )),
        levels: levels.on_device(Tensor::vector(&words, DType::U32, levels.words_len()))?,
        noise: None,
        balance: None,
        grad_loss: None,
        settings: &[],
    };
    // The sums of classes.
    let len = Hcal::sums_len(&levels, D);
    let sums = gpu.zeros(4 * len as u64)?;
    let of_classes = Tensor::vector(&sums, DType::F32, len);
    gpu.run(&[&hcal.prepare_partial(cx, &inputs, Gradient::To(of_classes))?])?;
    let all = world.sum("the sums of classes", &floats(gpu, &sums, len)?)?;
    let sums = put(&all)?;
    let of_classes = Tensor::vector(&sums, DType::F32, len);
    // The losses, of which the finest level's is a part.
    let losses = gpu.zeros(4 * CLASSES.len() as u64)?;
    let outputs = HcalOutputs {
        losses: Some(Tensor::vector(&losses, DType::F32, CLASSES.len())),
        ..HcalOutputs::default()
    };
    let given = HcalSums {
        sums: of_classes,
        losses: None,
    };
    gpu.run(&[&hcal.prepare_merged(cx, &inputs, &given, &outputs)?])?;
    let mut found = floats(gpu, &losses, CLASSES.len())?;
    found[0] = world.sum("the finest level's loss", &found[..1])?[0];
    compare("losses", &found, &truth.losses)?;
    // Loss and gradients.
    let losses = put(&found)?;
    let given = HcalSums {
        losses: Some(Tensor::vector(&losses, DType::F32, CLASSES.len())),
        ..given
    };
    let (loss, grad) = (gpu.zeros(4)?, gpu.zeros(4 * (mine.len() * D) as u64)?);
    let grads: Vec<wgpu::Buffer> = (CLASSES.iter())
        .map(|classes| gpu.zeros(4 * (classes * D) as u64))
        .collect::<Result<_, _>>()?;
    let to_prototypes: Vec<Gradient<'_>> = (grads.iter().zip(CLASSES))
        .map(|(buffer, classes)| Tensor::matrix(buffer, DType::F32, classes, D).into())
        .collect();
    let outputs = HcalOutputs {
        loss: Some(Tensor::vector(&loss, DType::F32, 1)),
        grad_features: Some(Tensor::matrix(&grad, DType::F32, mine.len(), D).into()),
        grad_prototypes: Some(&to_prototypes),
        ..HcalOutputs::default()
    };
    gpu.run(&[&hcal.prepare_merged(cx, &inputs, &given, &outputs)?])?;
    let loss = floats(gpu, &loss, 1)?;
    compare("loss", &loss, &[truth.loss])?;
    let own = &truth.grad_features[mine.start * D..mine.end * D];
    compare("features", &floats(gpu, &grad, mine.len() * D)?, own)?;
    for (k, (buffer, classes)) in grads.iter().zip(CLASSES).enumerate() {
        let mut found = floats(gpu, buffer, classes * D)?;
        // The others' are whole on every rank.
        if k == 0 {
            found = world.sum("the gradient to the finest level's prototypes", &found)?;
        }
        compare("prototypes", &found, &truth.grad_prototypes[k])?;
    }
    Ok(loss)
}
