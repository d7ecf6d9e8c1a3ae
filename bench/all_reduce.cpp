// How long Communicator::sum takes, by bytes. mpirun -np 2 graft_bench_all_reduce
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <ATen/ops/zeros.h>

#include <graft/mpi.h>

namespace {

double seconds_of(graft::Communicator& world, const std::vector<at::Tensor>& tensors) {
  world.barrier();
  const auto start = std::chrono::steady_clock::now();
  world.sum(tensors);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main() {
  const graft::MpiSession session;
  auto& world = session.world();
  if (world.rank() == 0) std::printf("processes, bytes, median ms of 15, GB/s of gradients\n");
  // The scores of a step, a linear head for 10 classes, one for 1000, the last stage of ResNet50, all of it, VGG16.
  for (const std::int64_t numbers : {4, 20'490, 2'049'000, 14'964'736, 25'557'032, 138'357'544}) {
    const std::vector<at::Tensor> gradients{at::zeros({numbers})};
    std::vector<double> times;
    for (int i = 0; i < 15; ++i) times.push_back(seconds_of(world, gradients));
    std::ranges::nth_element(times, times.begin() + 7);
    const double bytes = 4.0 * static_cast<double>(numbers);
    if (world.rank() == 0)
      std::printf("%d, %.0f, %.3f, %.2f\n", world.size(), bytes, 1e3 * times[7], bytes / times[7] / 1e9);
  }
}
