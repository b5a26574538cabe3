"""What an inpainter learns from: pictures without captions, of which parts are taken out."""
