/// New heads for a pretrained network. A Head is a recipe: it is given to Model::replace_head, which knows the width of
/// the features and creates the parameters.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <graft/export.h>

namespace graft {

/// How weights are drawn. Sources: torch.nn.Linear.reset_parameters and keras.initializers.GlorotUniform.
enum class Initializer {
  kTorch,  ///< weight and bias from U(-1/sqrt(in), 1/sqrt(in))
  kKeras,  ///< weight from U(-sqrt(6/(in+out)), sqrt(6/(in+out))), bias 0
};

enum class Activation { kRelu, kGelu, kTanh };

/// An unbuilt head. Takes features [N, C, H, W] (global average pooling comes first) or [N, C] and yields logits
/// [N, classes].
class GRAFT_EXPORT Head {
 public:
  struct Impl;
  explicit Head(std::shared_ptr<const Impl> impl);
  ~Head();

  /// "linear" or "mlp:1024".
  std::string describe() const;
  std::int64_t classes() const;

  const Impl& impl() const { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

namespace heads {

struct LinearOptions {
  std::int64_t classes = 0;  ///< outputs; must be given
  double dropout = 0;        ///< probability of zeroing a feature before the layer, while training
  Initializer initializer = Initializer::kTorch;
  std::uint64_t seed = 0;  ///< of the initial weights
};

/// One dense layer: parameters head.fc.weight [classes, C], head.fc.bias [classes].
/// Throws Error kConfig if an option is out of range.
GRAFT_EXPORT Head linear(const LinearOptions& options);

struct MlpOptions {
  std::vector<std::int64_t> hidden = {1024};  ///< widths of the hidden layers
  std::int64_t classes = 0;                   ///< outputs; must be given
  Activation activation = Activation::kRelu;  ///< after each hidden layer
  double dropout = 0;                         ///< before each dense layer, while training
  Initializer initializer = Initializer::kTorch;
  std::uint64_t seed = 0;  ///< of the initial weights
};

/// Dense hidden layers head.hidden.fc1, head.hidden.fc2, ... and a dense output layer head.fc (the tutorial's
/// Dense(1024, relu), Dense(10); the softmax belongs to the loss and to classify()).
/// Throws Error kConfig if an option is out of range.
GRAFT_EXPORT Head mlp(const MlpOptions& options);

/// "linear" or "mlp:256,128" with everything else at its default. Throws Error kConfig for any other text.
GRAFT_EXPORT Head parse(std::string_view text, std::int64_t classes, std::uint64_t seed = 0,
                        Initializer initializer = Initializer::kTorch);

}  // namespace heads
}  // namespace graft
