// Every process counts all of them.
#include <ATen/ops/ones.h>

#include <graft/mpi.h>

int main() {
  const graft::MpiSession session;
  auto& world = session.world();
  const auto count = at::ones({1});
  world.sum({count});
  return world.size() == 2 && count.item<float>() == 2 ? 0 : 1;
}
