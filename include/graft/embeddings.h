/// What to do with feature vectors (Model::embed, rows of a feature file): lay them out in the plane, draw the pictures
/// there, find the nearest (docs/explanations.md).
/// Thread-safety: functions without state; safe everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/export.h>
#include <graft/image.h>

namespace graft {

/// The first two principal components of the rows of `features` [N, C], float32: [N, 2], float32, CPU, centred. By
/// singular value decomposition in double precision; signs so that each component's largest loading is positive, as
/// scikit-learn has them. Throws Error kMismatch unless N and C are 2 or more, kNumeric if a value is not finite.
GRAFT_EXPORT at::Tensor pca(const at::Tensor& features);

/// Of tsne. Defaults are scikit-learn's.
struct TsneOptions {
  /// About how many neighbours count, below N. Without a value 30, or a third of the others where they are few.
  std::optional<double> perplexity = {};
  std::int64_t iterations = 1000;  ///< at most; the first 250 with early exaggeration
  double early_exaggeration = 12;  ///< factor of the similarities
  double learning_rate = 0;        ///< 0: N / early_exaggeration / 4, at least 50
  /// Starts from normal random places drawn with this seed, which differ from seed to seed. Without a value from pca(),
  /// which keeps more of the large distances.
  std::optional<std::uint64_t> seed = {};
};

/// The result of tsne.
struct TsneResult {
  at::Tensor coordinates;    ///< [N, 2], float32, CPU
  double kl_divergence = 0;  ///< what is minimised, after the last iteration
};

/// t-SNE (van der Maaten and Hinton 2008, JMLR 9) of the rows of `features` [N, C], float32, by Euclidean distance, all
/// pairs exactly: time for each iteration and memory (4 bytes) grow with N^2. The same result every time for the same
/// number of threads. Throws Error kConfig for options out of range, kMismatch unless N is 4 or more, kNumeric if a
/// value is not finite, kLimit for more than 20,000 rows.
GRAFT_EXPORT TsneResult tsne(const at::Tensor& features, const TsneOptions& options = {});

/// A row that is near.
struct Neighbor {
  std::int64_t index = 0;  ///< of the row
  float similarity = 0;    ///< cosine, -1..1; of a row of zeros 0
};

/// The `k` rows of `index` [N, C] that are most like `query` [C] by the cosine of their angle, the nearest first; of
/// equals the earlier row. All of them where N is smaller. float32. Throws Error kConfig for k below 1, kMismatch if
/// the shapes do not fit, kNumeric if a value is not finite.
GRAFT_EXPORT std::vector<Neighbor> nearest(const at::Tensor& query, const at::Tensor& index, std::int64_t k);

/// A picture on a map.
struct MapPicture {
  Image image;        ///< its middle square is shown
  std::string name;   ///< shown when the pointer rests on it (SVG)
  std::string group;  ///< same text, same colour: the class, or empty
};

/// How a map is drawn.
struct MapOptions {
  int width_px = 1600;
  int height_px = 1200;
  int thumbnail_px = 64;
};

/// Pictures at their `coordinates` [N, 2] (first to the right, second upwards, both to one scale), framed in the
/// colours of their groups, as a picture; later ones lie on top. Throws Error kConfig for options out of range or an
/// empty image, kMismatch unless there are as many pictures as coordinates and at least one, kNumeric if a coordinate
/// is not finite.
GRAFT_EXPORT Image draw_map(const at::Tensor& coordinates, std::span<const MapPicture> pictures,
                            const MapOptions& options = {});
/// The same as one SVG document with the thumbnails inside, names and a legend of the groups. Bytes of names that are
/// not UTF-8 are replaced.
GRAFT_EXPORT std::string draw_map_svg(const at::Tensor& coordinates, std::span<const MapPicture> pictures,
                                      const MapOptions& options = {});

}  // namespace graft
