const choice = document.getElementById("axis");
const show = () => {
  for (const plot of document.querySelectorAll(".plot")) plot.hidden = plot.dataset.axis !== choice.value;
};
choice.addEventListener("change", show);
show();
