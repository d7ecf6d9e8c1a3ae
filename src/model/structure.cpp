#include "model/structure.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include <graft/error.h>

#include "base/text.h"

namespace graft::model {

namespace {

using engine::ProbedCall;

constexpr std::array kActivations{"ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU",     "GELU",
                                  "SiLU", "Mish",  "Hardswish", "Tanh",  "Sigmoid", "Identity"};
constexpr std::array kPoolings{"MaxPool2d", "AvgPool2d"};

template <std::size_t N>
bool is_one_of(const std::array<const char*, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

class Analysis {
 public:
  Analysis(Structure& structure, const graph::Network& network) : s_(structure) {
    for (const auto& [name, tensor] : network.named_parameters()) parameters_[name] = tensor.sizes().vec();
    for (const auto& probed : s_.calls) {
      std::string caller;  // the innermost called layer around it
      for (const auto& other : s_.calls)
        if (other.call.path != probed.call.path && is_within(probed.call.path, other.call.path) &&
            other.call.path.size() > caller.size())
          caller = other.call.path;
      callers_.push_back(std::move(caller));
    }
  }

  void find_head(std::string_view given) {
    std::string scope;
    if (!given.empty()) {
      const auto index = index_of(given);
      if (!index) throw Error(ErrorCode::kConfig, "no layer \"" + std::string(given) + "\" is called by this network");
      s_.head = given;
      find_features(parametrised_calls(callers_[*index]));
      return;
    }
    for (;;) {
      const auto calls = parametrised_calls(scope);
      if (calls.empty()) return;
      const auto& last = s_.calls[calls.back()];
      if (scope.empty() && yields_tokens(last) && ends_in_pooling(calls.back())) return;
      if (last.output_shape != s_.output_shape && !yields_flattened(last))
        throw Error(ErrorCode::kMismatch, "cannot tell which layer is the head: the last one with parameters, \"" +
                                              last.call.path + "\", yields " + shape_text(last.output_shape) +
                                              ", the network " + shape_text(s_.output_shape) +
                                              "; name the head in LoadOptions");
      s_.head = last.call.path;
      // A network wrapped whole in one child, or behind layers that adapt its input: look inside.
      const bool wrapped = calls.size() == 1 && !parametrised_calls(s_.head).empty();
      const bool adapted = calls.size() > 1 && is_backbone(calls.back());
      if (!wrapped && !adapted) {
        find_features(calls);
        return;
      }
      if (const auto* other = other_answer(calls); adapted && other) {
        s_.no_head = "\"" + other->call.path + "\" and \"" + std::exchange(s_.head, {}) +
                     "\" are whole networks whose outputs it joins; fine-tune one of them and join them afterwards";
        return;
      }
      scope = s_.head;
    }
  }

  void find_penultimate() {
    if (s_.head.empty() && !(s_.features_layer.empty() && s_.no_head.empty())) return;
    s_.penultimate_layer = s_.head;  // where nothing inside it is called: a head that was traced whole
    for (const auto& probed : s_.calls)
      if (is_within(probed.call.path, s_.head) && has_own_parameters(probed.call.path))
        s_.penultimate_layer = probed.call.path;
  }

  void find_stages() {
    const auto index = index_of(s_.head);
    if (!index) return;
    std::vector<std::string> stem;
    const auto siblings = parametrised_calls(callers_[*index]);
    const bool numbered = std::any_of(siblings.begin(), siblings.end(),
                                      [&](auto i) { return s_.calls[i].call.path.ends_with("layer1"); });
    bool in_stem = numbered;
    for (const auto i : siblings) {
      const std::string& path = s_.calls[i].call.path;
      if (path == s_.head) break;
      stem.push_back(path);
      in_stem = in_stem && !path.ends_with("layer1");
      if (in_stem) continue;
      add_stages(std::exchange(stem, {}));
    }
  }

  std::string family() const {
    const auto is = [&](const std::string& name, std::vector<std::int64_t> shape) {
      const auto it = parameters_.find(name);
      return it != parameters_.end() && it->second == shape;
    };
    const auto absent = [&](const std::string& name) { return !parameters_.contains(name); };
    if (is("features.0.weight", {64, 3, 3, 3}) && is("features.28.weight", {512, 512, 3, 3}) &&
        is("features.14.weight", {256, 256, 3, 3}) && is("features.17.weight", {512, 256, 3, 3}) &&
        absent("features.30.weight"))
      return "vgg16";
    if (is("conv1.weight", {64, 3, 7, 7}) && is("layer3.5.conv3.weight", {1024, 256, 1, 1}) &&
        is("layer4.2.conv3.weight", {2048, 512, 1, 1}) && is("layer1.0.conv2.weight", {64, 64, 3, 3}) &&
        absent("layer3.6.conv1.weight"))
      return "resnet50";
    return "other";
  }

 private:
  std::optional<std::size_t> index_of(std::string_view path) const {
    for (std::size_t i = s_.calls.size(); i-- > 0;)
      if (s_.calls[i].call.path == path) return i;
    return std::nullopt;
  }

  bool has_parameters(std::string_view path) const {
    return std::any_of(parameters_.begin(), parameters_.end(), [&](const auto& p) { return is_within(p.first, path); });
  }

  bool has_own_parameters(std::string_view path) const {
    return std::any_of(parameters_.begin(), parameters_.end(),
                       [&](const auto& p) { return owner_of(p.first) == path; });
  }

  std::vector<std::size_t> parametrised_calls(std::string_view caller) const {
    std::vector<std::size_t> calls;
    for (std::size_t i = 0; i < s_.calls.size(); ++i)
      if (callers_[i] == caller && has_parameters(s_.calls[i].call.path)) calls.push_back(i);
    return calls;
  }

  static bool yields_tokens(const ProbedCall& call) { return call.output_shape.size() == 3; }

  /// An encoder without a head: what it yields is made of its tokens by a layer without parameters, behind the last one
  /// with some.
  bool ends_in_pooling(std::size_t last_with_parameters) {
    for (std::size_t i = s_.calls.size(); i-- > last_with_parameters + 1;) {
      if (!callers_[i].empty()) continue;
      if (s_.calls[i].output_shape == s_.output_shape) s_.features_layer = s_.calls[i].call.path;
      break;
    }
    return !s_.features_layer.empty();
  }

  /// A call that makes smaller maps of a picture or a map, by layers with parameters: more than a head does.
  bool is_backbone(std::size_t call) const {
    const auto& given = s_.calls[call].input_shape;
    if (given.size() != 4) return false;
    for (const auto& inner : s_.calls) {
      const auto& made = inner.output_shape;
      if (made.size() == 4 && made[2] * made[3] > 1 && 2 * made[2] <= given[2] + 1 && 2 * made[3] <= given[3] + 1 &&
          inner.call.path != s_.calls[call].call.path && is_within(inner.call.path, s_.calls[call].call.path) &&
          has_parameters(inner.call.path))
        return true;
    }
    return false;
  }

  /// One of `calls` before the last that yields what the network does; null if there is none.
  const ProbedCall* other_answer(const std::vector<std::size_t>& calls) const {
    const auto other = std::find_if(calls.begin(), std::prev(calls.end()),
                                    [&](auto i) { return s_.calls[i].output_shape == s_.output_shape; });
    return other == std::prev(calls.end()) ? nullptr : &s_.calls[*other];
  }

  /// Whether a map is [N, H, W, C], judged by what was made of it: a map with the channels C in the second place, a
  /// vector that is their mean (or several such), or one of all places.
  static bool has_channels_last(const std::vector<std::int64_t>& map, const std::vector<std::int64_t>& made) {
    if (made.size() == 4) return made[1] != map[1] && made[1] == map[3];
    if (made.size() != 2) return false;
    const auto width = made[1];
    if (width == map[1] || width == map[1] * map[2] * map[3]) return false;
    return width == map[3] || (width % map[1] != 0 && width % map[3] == 0);
  }

  /// SqueezeNet's head ends in a pooling: [1, classes, h, w], flattened outside.
  bool yields_flattened(const ProbedCall& call) const {
    return call.output_shape.size() == 4 && call.output_shape[1] == s_.output_shape[1];
  }

  /// The feature map comes from the last layer before the head that is not dense, or from an activation behind that.
  void find_features(const std::vector<std::size_t>& calls) {
    const auto rank = [&](std::size_t i) { return s_.calls[i].output_shape.size(); };
    auto next = std::find_if(calls.begin(), calls.end(), [&](auto i) { return s_.calls[i].call.path == s_.head; });
    if (next == calls.end()) return;
    while (next != calls.begin() && rank(*std::prev(next)) == 2) --next;
    if (next == calls.begin() || rank(*std::prev(next)) != 4) return;
    const std::size_t before = *std::prev(next);
    const auto& map = s_.calls[before].output_shape;
    if (has_channels_last(map, s_.calls[*next].input_shape)) {
      for (std::size_t i = before + 1; i < *next; ++i)  // a layer may have put them in their place
        if (callers_[i] == callers_[before] && s_.calls[i].output_shape == std::vector{map[0], map[3], map[1], map[2]})
          s_.features_layer = s_.calls[i].call.path;
      return;
    }
    s_.features_layer = s_.calls[before].call.path;
    for (std::size_t i = before + 1; i < *next; ++i) {
      if (callers_[i] != callers_[before]) continue;
      if (!is_one_of(kActivations, s_.calls[i].call.type)) break;
      s_.features_layer = s_.calls[i].call.path;
    }
  }

  /// One stage, or for a chain of layers with poolings in it (VGG's features) one for each block between them.
  void add_stages(std::vector<std::string> layers) {
    std::vector<std::vector<std::string>> blocks(1);
    bool pooled = false;
    for (std::size_t i = 0; i < s_.calls.size(); ++i) {
      if (layers.size() != 1 || callers_[i] != layers[0]) continue;
      if (is_one_of(kPoolings, s_.calls[i].call.type)) {
        pooled = true;
        blocks.emplace_back();
      } else if (has_parameters(s_.calls[i].call.path)) {
        blocks.back().push_back(s_.calls[i].call.path);
      }
    }
    if (!pooled) blocks = {std::move(layers)};
    for (auto& block : blocks)
      if (!block.empty()) s_.stages.push_back(std::move(block));
  }

  Structure& s_;
  std::map<std::string, std::vector<std::int64_t>, std::less<>> parameters_;
  std::vector<std::string> callers_;
};

}  // namespace

bool is_within(std::string_view name, std::string_view layer) {
  return name.starts_with(layer) && (name.size() == layer.size() || layer.empty() || name[layer.size()] == '.');
}

bool covers(std::string_view pattern, std::string_view parameter) {
  for (std::string_view name = parameter; !name.empty(); name = owner_of(name))
    if (base::matches(pattern, name)) return true;
  return false;
}

std::string_view owner_of(std::string_view name) {
  const auto dot = name.rfind('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
}

Structure analyse(const graph::Network& network, engine::Probe probe, std::string_view head) {
  Structure structure;
  structure.input_shape = std::move(probe.input_shape);
  structure.output_shape = std::move(probe.output_shape);
  structure.calls = std::move(probe.calls);
  if (structure.output_shape.size() != 2 || structure.output_shape[0] != 1)
    throw Error(ErrorCode::kMismatch, "expected a classifier that yields [N, classes], found output " +
                                          shape_text(structure.output_shape) + " for a batch of one");
  Analysis analysis(structure, network);
  structure.family = analysis.family();
  analysis.find_head(head);
  analysis.find_penultimate();
  analysis.find_stages();
  return structure;
}

}  // namespace graft::model
