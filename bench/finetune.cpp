// Images per second of fine-tuning: a head on frozen layers, or with the layers from a given one on trained as well;
// pictures in memory. Loads the model, prints "ready", then for each line PICTURES on standard input two figures: of
// the first epoch on so many new pictures, and of the epochs after it (their median). Driven by finetune.py.
//
//   graft_bench_finetune MODEL HEAD FREEZE PRECISION BATCH THREADS [DEVICE]
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include <ATen/Parallel.h>

#include <graft/graft.h>

namespace {

constexpr std::int64_t kClasses = 10, kLaterEpochs = 10;

/// Noise of the network's own size, as bytes; each data set has pictures of its own.
class Noise : public graft::Dataset {
 public:
  Noise(std::size_t size, int side_px, std::uint64_t seed) : seed_(seed) {
    for (std::int64_t c = 0; c < kClasses; ++c) classes_.push_back("class " + std::to_string(c));
    std::mt19937_64 engine(seed);
    for (std::size_t i = 0; i < size; ++i) {
      std::vector<std::uint8_t> rgb(static_cast<std::size_t>(side_px) * static_cast<std::size_t>(side_px) * 3);
      std::generate(rgb.begin(), rgb.end(), [&] { return static_cast<std::uint8_t>(engine()); });
      pictures_.emplace_back(side_px, side_px, std::move(rgb));
    }
  }
  std::size_t size() const override { return pictures_.size(); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t i) const override { return static_cast<std::int64_t>(i) % kClasses; }
  graft::Image image(std::size_t i) const override { return pictures_.at(i); }
  std::string name(std::size_t i) const override { return std::to_string(i); }
  std::string content_id(std::size_t i) const override { return std::to_string(seed_) + " " + name(i); }

 private:
  std::uint64_t seed_;
  std::vector<std::string> classes_;
  std::vector<graft::Image> pictures_;
};

graft::Model load(const std::string& file, const std::string& head, const std::string& freeze,
                  const std::string& device) {
  auto model = graft::Model::load(file, {.device = graft::Device::parse(device)});
  auto preprocessing = model.preprocessing();
  preprocessing.resize_shorter_px.reset();  // the pictures have the network's size
  model.set_preprocessing(preprocessing);
  model.replace_head(graft::heads::parse(head, kClasses));
  model.apply_freeze(freeze);
  return model;
}

void serve(graft::Model& model, const graft::TrainerOptions& options, std::int64_t batch) {
  std::cout << "ready" << std::endl;
  std::uint64_t seed = 0;
  for (std::size_t pictures = 0; std::cin >> pictures;) {
    const Noise data(pictures, model.preprocessing().crop_height_px, seed++);
    const auto epochs =
        graft::Trainer(model, options)
            .fit(data, {.epochs = 1 + kLaterEpochs, .batch_size = batch, .loader_threads = at::get_num_threads()})
            .epochs;
    std::vector<double> later;
    for (std::size_t i = 1; i < epochs.size(); ++i) later.push_back(epochs[i].seconds);
    std::nth_element(later.begin(), later.begin() + kLaterEpochs / 2, later.end());
    const auto count = static_cast<double>(pictures);
    std::cout << count / epochs[0].seconds << ' ' << count / later[kLaterEpochs / 2] << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7 && argc != 8) {
    std::cerr << "usage: graft_bench_finetune MODEL HEAD FREEZE PRECISION BATCH THREADS [DEVICE]\n";
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(argv[6]));
    auto model = load(argv[1], argv[2], argv[3], argc == 8 ? argv[7] : "cpu");
    serve(model, {.precision = graft::parse_precision(argv[4])}, std::stoll(argv[5]));
  } catch (const std::exception& error) {
    std::cerr << "graft_bench_finetune: " << error.what() << '\n';
    return 1;
  }
}
