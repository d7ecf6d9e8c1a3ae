// consumer MODEL PICTURE
#include <cstdio>

#include <graft/graft.h>

int main(int, char** argv) {
  try {
    const auto model = graft::Model::load(argv[1]);
    const auto top = model.classify(graft::Image::read(argv[2]), {.top_k = 1});
    std::printf("graft %s, LibTorch %s: %s\n", GRAFT_VERSION, GRAFT_TORCH_VERSION, top.front().id.c_str());
  } catch (const graft::Error& error) {
    std::printf("graft::Error: %s\n", error.what());
    return 1;
  }
}
