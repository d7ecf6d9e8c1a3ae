// Pictures per second through Model::forward, images prepared beforehand. Loads the model, prints "ready", then for
// each line SECONDS on standard input the figure. Driven by inference.py.
//
//   graft_bench_network MODEL BATCH PRECISION THREADS [DEVICE]
//
// On CUDA the images are on the device.
#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/ops/rand.h>

#include <graft/graft.h>

namespace {

constexpr int kTogether = 10;

double pictures_per_second(const graft::Model& model, const at::Tensor& batch, graft::Precision precision,
                           double seconds) {
  using Clock = std::chrono::steady_clock;
  std::int64_t done = 0;
  const auto start = Clock::now();
  double passed = 0;
  while (passed < seconds) {
    at::Tensor logits;
    // A call only starts work on CUDA: some together, as a program that has more to do would.
    for (int i = 0; i < (batch.is_cuda() ? kTogether : 1); ++i) {
      logits = model.forward(batch, precision);
      done += batch.size(0);
    }
    (void)logits.to(at::kCPU);
    passed = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return static_cast<double>(done) / passed;
}

void serve(const std::string& file, std::int64_t batch_size, graft::Precision precision, const std::string& device) {
  const auto model = graft::Model::load(file, {.device = graft::Device::parse(device)});
  const auto& p = model.preprocessing();
  at::Tensor batch = at::rand({batch_size, 3, p.crop_height_px, p.crop_width_px});
  if (model.device().is_cuda()) batch = batch.to(at::kCUDA, at::kFloat, false, false, at::MemoryFormat::ChannelsLast);
  constexpr int kWarmUp = 3;
  for (int i = 0; i < kWarmUp; ++i) (void)model.forward(batch, precision);
  std::cout << "ready" << std::endl;
  for (double seconds = 0; std::cin >> seconds;)
    std::cout << pictures_per_second(model, batch, precision, seconds) << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 6) {
    std::cerr << "usage: graft_bench_network MODEL BATCH PRECISION THREADS [DEVICE]\n";
    return 2;
  }
  try {
    at::set_num_threads(std::stoi(argv[4]));
    serve(argv[1], std::stoll(argv[2]), graft::parse_precision(argv[3]), argc == 6 ? argv[5] : "cpu");
  } catch (const std::exception& error) {
    std::cerr << "graft_bench_network: " << error.what() << '\n';
    return 1;
  }
}
