#include <cstdio>

#include <graft/graft.h>

int main(int argc, char** argv) {
  const auto model = graft::Model::load(argv[1]);
  const auto top = model.classify(graft::Image::read(argv[argc - 1]), {.top_k = 1});
  std::printf("graft %s: %s\n", GRAFT_VERSION, top.front().id.c_str());
}
