#include "dist/device_sums.h"

namespace graft::dist {

std::unique_ptr<DeviceSums> connect_devices(Communicator&, c10::Device) { return nullptr; }

}  // namespace graft::dist
