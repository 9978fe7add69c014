//! Cropping and resizing, as torchvision does it on 8-bit images.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// One step of bringing images to one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Keeps `height × width` pixels around the centre. With an odd number of pixels too many, the larger margin is where torchvision's
    /// `CenterCrop` leaves it: half a pixel is rounded to the even number.
    CenterCrop {
        /// Height of the result.
        height: usize,
        /// Width of the result.
        width: usize,
    },
    /// Resizes to `height × width`, whatever the proportions were: bilinear, antialiased when it becomes smaller, rounded to 8 bits.
    /// This is Pillow's `Image.resize(…, BILINEAR)` up to 1 in a pixel (of 255).
    Resize {
        /// Height of the result.
        height: usize,
        /// Width of the result.
        width: usize,
    },
}

impl Step {
    /// Height and width of the result.
    pub(crate) fn size(self) -> [usize; 2] {
        let (Self::CenterCrop { height, width } | Self::Resize { height, width }) = self;
        [height, width]
    }

    /// Does it to a planar image.
    pub(crate) fn apply(self, (shape, pixels): ([usize; 3], Vec<u8>)) -> Result<([usize; 3], Vec<u8>), String> {
        let [channels, height, width] = shape;
        let result = [channels, self.size()[0], self.size()[1]];
        if result == shape {
            return Ok((shape, pixels));
        }
        let pixels = match self {
            Self::CenterCrop { .. } => crop(shape, &pixels, self.size())?,
            Self::Resize { .. } => {
                let mut target = vec![0; result.iter().product()];
                let planes = pixels.chunks_exact(height * width).zip(target.chunks_exact_mut(result[1] * result[2]));
                let mut resizer = Resizer::new();
                for (plane, target) in planes {
                    resize(&mut resizer, [height, width], plane, self.size(), target)?;
                }
                target
            }
        };
        Ok((result, pixels))
    }
}

fn crop([_, height, width]: [usize; 3], pixels: &[u8], [to_height, to_width]: [usize; 2]) -> Result<Vec<u8>, String> {
    let (Some(rows), Some(columns)) = (height.checked_sub(to_height), width.checked_sub(to_width)) else {
        return Err(format!("{height} × {width} pixels, fewer than the {to_height} × {to_width} that are cut out"));
    };
    let (top, left) = (half_to_even(rows), half_to_even(columns));
    let mut cropped = Vec::with_capacity(pixels.len() / (height * width) * to_height * to_width);
    for plane in pixels.chunks_exact(height * width) {
        for row in plane.chunks_exact(width).skip(top).take(to_height) {
            cropped.extend_from_slice(&row[left..left + to_width]);
        }
    }
    Ok(cropped)
}

/// `n / 2`, and of two whole numbers as near to it the even one.
fn half_to_even(n: usize) -> usize {
    n / 2 + usize::from(n % 4 == 3)
}

fn resize(resizer: &mut Resizer, from: [usize; 2], plane: &[u8], to: [usize; 2], target: &mut [u8]) -> Result<(), String> {
    let sides = |[height, width]: [usize; 2]| Some((u32::try_from(width).ok()?, u32::try_from(height).ok()?));
    let ((width, height), (to_width, to_height)) = sides(from).zip(sides(to)).ok_or("a side is too long")?;
    let source = ImageRef::new(width, height, plane, PixelType::U8).map_err(|e| e.to_string())?;
    let mut target = Image::from_slice_u8(to_width, to_height, target, PixelType::U8).map_err(|e| e.to_string())?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    resizer.resize(&source, &mut target, &options).map_err(|e| e.to_string())
}

/// The mean and the standard deviation of each channel, for `(x − mean) / std`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Subtracted from each channel.
    pub mean: Vec<f32>,
    /// What the difference is divided by, not 0.
    pub std: Vec<f32>,
}

impl Normalization {
    /// That of networks pre-trained on ImageNet, over red, green and blue in [0, 1]: mean (0.485, 0.456, 0.406), standard deviation
    /// (0.229, 0.224, 0.225), as in torchvision.
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// Normalizes planar images of `channels × plane` values each, one after another.
    pub fn apply(&self, plane: usize, images: &mut [f32]) {
        for planes in images.chunks_exact_mut(plane * self.mean.len()) {
            for ((plane, mean), std) in planes.chunks_exact_mut(plane).zip(&self.mean).zip(&self.std) {
                for value in plane {
                    *value = (*value - mean) / std;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_centre_is_where_torchvision_has_it() {
        // Python: [round(n / 2) for n in range(8)]
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(half_to_even), [0, 0, 1, 2, 2, 2, 3, 4]);
        let pixels: Vec<u8> = (0..2 * 4 * 3).collect();
        let cropped = Step::CenterCrop { height: 2, width: 2 }.apply(([2, 4, 3], pixels.clone())).unwrap();
        assert_eq!(cropped, ([2, 2, 2], vec![3, 4, 6, 7, 15, 16, 18, 19]));
        let whole = Step::CenterCrop { height: 4, width: 3 }.apply(([2, 4, 3], pixels.clone())).unwrap();
        assert_eq!(whole, ([2, 4, 3], pixels.clone()));
        let error = Step::CenterCrop { height: 5, width: 3 }.apply(([2, 4, 3], pixels)).unwrap_err();
        insta::assert_snapshot!(error, @"4 × 3 pixels, fewer than the 5 × 3 that are cut out");
    }

    #[test]
    fn crops_and_sizes_agree_with_pillow() {
        let read = |name: &str| {
            let path = format!("{}/tests/pillow/{name}.png", env!("CARGO_MANIFEST_DIR"));
            crate::png::decode(&std::fs::read(path).unwrap()).unwrap()
        };
        let source = read("rings");
        for (height, width) in [(40, 40), (58, 44)] {
            let ours = Step::CenterCrop { height, width }.apply(source.clone()).unwrap();
            assert_eq!(ours, read(&format!("cropped-{height}x{width}")));
        }
        // Larger; smaller; smaller in one direction; both.
        for (height, width) in [(80, 90), (20, 20), (61, 13), (64, 40)] {
            let (shape, ours) = Step::Resize { height, width }.apply(source.clone()).unwrap();
            let (same, theirs) = read(&format!("resized-{height}x{width}"));
            assert_eq!(shape, same);
            let most = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(most <= 1, "{height} × {width}: {most}");
        }
    }

    #[test]
    fn normalization_is_by_channel() {
        let mut images = [0.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.0, 1.0];
        Normalization { mean: vec![0.5, 0.25], std: vec![0.5, 0.25] }.apply(2, &mut images);
        assert_eq!(images[..], [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 3.0]);
    }
}
