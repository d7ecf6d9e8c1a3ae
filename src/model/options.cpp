#include <graft/model_options.h>

namespace graft {

Cut Cut::features() { return {}; }

Cut Cut::penultimate() {
  Cut cut;
  cut.kind_ = Kind::kPenultimate;
  return cut;
}

Cut Cut::before(std::string layer) {
  Cut cut;
  cut.kind_ = Kind::kBefore;
  cut.layer_ = std::move(layer);
  return cut;
}

Cut Cut::parse(std::string_view text) {
  if (text.empty())
    throw Error(ErrorCode::kConfig, "cut: expected features, penultimate or a layer's name, found nothing");
  if (text == "features") return features();
  if (text == "penultimate") return penultimate();
  return before(std::string(text));
}

std::string Cut::str() const {
  switch (kind_) {
    case Kind::kFeatures:
      return "features";
    case Kind::kPenultimate:
      return "penultimate";
    case Kind::kBefore:
      return layer_;
  }
  return layer_;
}

BatchNormPolicy parse_batch_norm(std::string_view text) {
  if (text == "follow") return BatchNormPolicy::kFollow;
  if (text == "inference") return BatchNormPolicy::kInference;
  if (text == "train") return BatchNormPolicy::kTrain;
  throw Error(ErrorCode::kConfig,
              "batch norm: expected follow, inference or train, found \"" + std::string(text) + "\"");
}

std::string_view to_string(BatchNormPolicy policy) noexcept {
  switch (policy) {
    case BatchNormPolicy::kFollow:
      return "follow";
    case BatchNormPolicy::kInference:
      return "inference";
    case BatchNormPolicy::kTrain:
      return "train";
  }
  return "follow";
}

}  // namespace graft
